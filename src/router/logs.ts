import type { Bus } from '#bus/bus.ts';
import { LogEmitter } from '#bus/log-emitter.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import { AccessLog } from './access-log.ts';
import { AppLog } from './app-log.ts';
import { AppTraffic } from './app-traffic.ts';
import type { RouterConfig } from './config.ts';
import { onSignals } from './signals.ts';

/** Where requests are told of: the access log, which signals open anew, and each app's own log and figures. */
export interface Logs extends AsyncDisposable {
  accessLog: AccessLog;
  /** Undefined while apps are told nothing. */
  appTraffic: AppTraffic | undefined;
}

export function openLogs(config: RouterConfig, parts: { bus: Bus; clock: Clock; log: Log }): Logs {
  const { logging, index } = config;
  const { bus, clock, log } = parts;
  const stack = new AsyncDisposableStack();
  const emitter = stack.use(new LogEmitter({ publisher: bus }));
  const appLog = logging.has_app_lines
    ? stack.use(
        new AppLog({ emitter, clock, lines_per_s: logging.app_lines_per_s, hasTimers: logging.has_http_timers }),
      )
    : undefined;
  const tell_interval_ms = logging.app_figures_interval_s * 1000;
  const appTraffic =
    tell_interval_ms > 0 ? stack.use(new AppTraffic({ emitter, clock, index, tell_interval_ms })) : undefined;
  const accessLog = stack.use(
    new AccessLog({ log, appLog, file: logging.access_log_file, flush_interval_ms: logging.flush_interval_ms }),
  );
  stack.use(onSignals({ accessLog, log }));
  return { accessLog, appTraffic, [Symbol.asyncDispose]: async () => await stack.disposeAsync() };
}
