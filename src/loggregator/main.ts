/**
 * The loggregator: from a line of output to its reader. Envelopes come in batches over the bus, are kept on disk for some days,
 * and are read by log-cache's API. What is lost on the way is counted and told in the stream that it is missing from.
 */
import { announceComponent } from '#bus/announce.ts';
import { Bus } from '#bus/bus.ts';
import { followRevocations } from '#bus/revocations.ts';
import { registerRoutes } from '#bus/route-registrar.ts';
import { createHttpServer, listen } from '#http/server.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import { Access } from './access.ts';
import { AppMetrics } from './app-metrics.ts';
import { hearEnvelopes } from './bus.ts';
import type { Entry } from './chunk.ts';
import { type LoggregatorConfig, storeLimits } from './config.ts';
import { type Drains, openDrains } from './drains.ts';
import { Intake } from './intake.ts';
import { LiveReaders } from './live.ts';
import { serveLogCache, useLogErrors } from './log-cache.ts';
import { LogStream } from './log-stream.ts';
import { startStatus } from './metrics.ts';
import { openEndpoints } from './metrics-endpoints.ts';
import { servePromql } from './promql-http.ts';
import { LogStore } from './store.ts';

/** Of requests, which have none. */
const BODY_LIMIT_BYTES = 1024 * 1024;

export async function start(config: LoggregatorConfig, context: ComponentContext): Promise<RunningComponent> {
  const { log, clock } = context;
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: 'loggregator', log }));
  const store = stack.use(
    new LogStore({
      folder: config.store.folder,
      clock,
      log,
      limits: storeLimits(config.store),
      onLost: (source_id, count, why) => intake.tellLoss(source_id, count, why),
    }),
  );
  const live = new LiveReaders();
  const apps = new AppMetrics({ clock, ...config.app_metrics });
  const deliver = (source_id: string, entries: readonly Entry[]): void => {
    store.append(source_id, entries);
    live.deliver(source_id, entries);
    drains.deliver(source_id, entries);
    apps.take(source_id, entries);
  };
  const { source_lines_per_s, reader_buffer_kb } = config.limits;
  const intake: Intake = stack.use(new Intake({ clock, source_lines_per_s, deliver }));
  const endpoints = stack.use(openEndpoints(config.app_metrics, { bus, clock, deliver, intake }));
  const drains: Drains = stack.use(
    openDrains(config, context, {
      onLost: (...loss) => intake.tellLoss(...loss),
      onEndpoints: (targets) => endpoints.want(targets),
    }),
  );
  const access = new Access({ clock, uaa: config.uaa, cc_url: config.cc_url, ...config.access });
  stack.use(followRevocations({ bus, clock, refusers: [access] }));
  const server = createHttpServer({ log, body_limit_bytes: BODY_LIMIT_BYTES });
  stack.defer(async () => await server.close());
  useLogErrors(server, log);
  serveLogCache(server, { store, access, clock });
  servePromql(server, { store, access, clock });
  const reader_buffer_bytes = reader_buffer_kb * 1024;
  const stream = stack.use(new LogStream(server, { live, store, access, clock, reader_buffer_bytes }));
  const { port } = await listen(server, config.listen);
  const parts = { store, intake, live, stream, drains, apps, endpoints };
  const status = stack.use(await startStatus(config.status, parts));
  stack.use(hearEnvelopes(bus, intake));
  stack.use(
    registerRoutes({ bus, clock, routes: [{ host: config.address.ip, port, uris: Object.values(config.hosts) }] }),
  );
  const { index, version } = config;
  const { address: host, credentials } = status;
  stack.use(announceComponent({ bus, type: 'Loggregator', index, version, host, credentials }));
  log.info({ port, status: status.address }, 'loggregator started');
  const running = stack.move();
  return {
    addresses: { http: `http://${config.listen.host}:${port}`, status: `http://${status.address}` },
    [Symbol.asyncDispose]: async () => await running.disposeAsync(),
  };
}
