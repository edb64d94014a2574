/**
 * The collector: finds all components over the bus, asks them for health and figures, keeps a day of the figures in bounded memory,
 * and shows all in one place. It commands nobody, and nothing depends on it.
 */
import { Gauge } from 'prom-client';
import { announceComponent } from '#bus/announce.ts';
import { Bus } from '#bus/bus.ts';
import { LogEmitter } from '#bus/log-emitter.ts';
import { createHttpServer, listen } from '#http/server.ts';
import { StatusServer } from '#http/status-server.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import { AppCounts } from './app-counts.ts';
import { discover, hearComponents, pingBus } from './bus.ts';
import { Collector } from './collector.ts';
import type { CollectorConfig } from './config.ts';
import { History, measureHistory } from './history.ts';
import { measureHost } from './host.ts';
import { serveCollector } from './http.ts';
import { startPush } from './push.ts';
import { Registry } from './registry.ts';

export async function start(config: CollectorConfig, context: ComponentContext): Promise<RunningComponent> {
  const { log, clock } = context;
  const { intervals } = config;
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: 'collector', log }));
  const history = new History({
    step_ms: config.history.step_s * 1000,
    points: Math.max(2, Math.ceil(config.history.retention_s / config.history.step_s)),
    memory_bytes: config.history.memory_mb * 1024 * 1024,
  });
  const registry = new Registry();
  const silence_ms = intervals.prune_s * 1000;
  const collector = new Collector({ registry, history, clock, log, timeout_ms: config.timeout_ms, silence_ms });
  const server = createHttpServer({ log, body_limit_bytes: 1024 });
  stack.defer(async () => await server.close());
  serveCollector(server, collector, config.login ?? config.status);
  const { port } = await listen(server, config.listen);
  const { user, password } = config.status;
  const status = stack.use(await StatusServer.start({ ...config.status, credentials: { user, password } }));
  const { registry: figures } = status;
  measureHost(figures, config.disks);
  const registers = [figures];
  const ping = new Gauge({ name: 'nats_ping_seconds', help: 'time the message bus takes to answer', registers });
  measureHistory(figures, history);
  if (config.remote_write) stack.use(startPush(config.remote_write, { collector, clock, log, registry: figures }));
  const emitter = stack.use(new LogEmitter({ publisher: bus }));
  stack.use(new AppCounts({ emitter, clock, registry: figures })).hear(bus);
  stack.use(hearComponents(bus, registry, clock));
  const { index, version } = config;
  const credentials = { user, password };
  stack.use(announceComponent({ bus, type: 'Collector', index, version, host: status.address, credentials }));
  const ask = async (): Promise<void> => await discover(bus, registry, { clock, log });
  stack.use(clock.every(intervals.discover_s * 1000, ask));
  stack.use(clock.every(intervals.healthz_s * 1000, async () => await collector.pollHealth()));
  stack.use(clock.every(intervals.varz_s * 1000, async () => await collector.pollFigures()));
  stack.use(clock.every(intervals.local_metrics_s * 1000, async () => ping.set(await pingBus(bus, clock))));
  const first = ask().then(async () => await Promise.all([collector.pollHealth(), collector.pollFigures()]));
  stack.defer(async () => void (await first));
  log.info({ port, status: status.address }, 'collector started');
  const running = stack.move();
  return {
    addresses: { http: `http://${config.listen.host}:${port}`, status: `http://${status.address}` },
    [Symbol.asyncDispose]: async () => await running.disposeAsync(),
  };
}
