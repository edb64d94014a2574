/**
 * The loggregator: from a line of output to its reader. Envelopes come in batches over the bus, are kept on disk for some days,
 * and are read by log-cache's API. What is lost on the way is counted and told in the stream that it is missing from.
 */
import { announceComponent } from '#bus/announce.ts';
import { Bus } from '#bus/bus.ts';
import { followRevocations } from '#bus/revocations.ts';
import { registerRoutes } from '#bus/route-registrar.ts';
import { createHttpServer, listen } from '#http/server.ts';
import { StatusServer } from '#http/status-server.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import { Access } from './access.ts';
import { hearEnvelopes } from './bus.ts';
import type { LoggregatorConfig } from './config.ts';
import { type Drains, openDrains } from './drains.ts';
import { Intake } from './intake.ts';
import { LiveReaders } from './live.ts';
import { serveLogCache, useLogErrors } from './log-cache.ts';
import { LogStream } from './log-stream.ts';
import { countFigures } from './metrics.ts';
import { servePromql } from './promql-http.ts';
import { LogStore } from './store.ts';

const MB = 1024 * 1024;

export async function start(config: LoggregatorConfig, context: ComponentContext): Promise<RunningComponent> {
  const { log, clock } = context;
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: 'loggregator', log }));
  const store = stack.use(
    new LogStore({
      folder: config.store.folder,
      clock,
      log,
      limits: {
        source_bytes: config.store.source_mb * MB,
        total_bytes: config.store.total_mb * MB,
        retention_ms: config.store.retention_s * 1000,
        memory_bytes: config.store.memory_mb * MB,
      },
      onLost: (source_id, count, why) => intake.tellLoss(source_id, count, why),
    }),
  );
  const live = new LiveReaders();
  const intake: Intake = stack.use(
    new Intake({
      clock,
      source_lines_per_s: config.limits.source_lines_per_s,
      deliver: (source_id, entries) => {
        store.append(source_id, entries);
        live.deliver(source_id, entries);
        drains.deliver(source_id, entries);
      },
    }),
  );
  const drains: Drains = stack.use(openDrains(config, context, (...loss) => intake.tellLoss(...loss)));
  const access = new Access({ clock, uaa: config.uaa, cc_url: config.cc_url, ...config.access });
  stack.use(followRevocations({ bus, clock, refusers: [access] }));
  const server = createHttpServer({ log, body_limit_bytes: MB });
  stack.defer(async () => await server.close());
  useLogErrors(server, log);
  serveLogCache(server, { store, access, clock });
  servePromql(server, { store, access, clock });
  const reader_buffer_bytes = config.limits.reader_buffer_kb * 1024;
  const stream = stack.use(new LogStream(server, { live, store, access, clock, reader_buffer_bytes }));
  const { port } = await listen(server, config.listen);
  const { user, password } = config.status;
  const status = stack.use(await StatusServer.start({ ...config.status, credentials: { user, password } }));
  countFigures(status.registry, { store, intake, live, stream, drains });
  stack.use(hearEnvelopes(bus, intake));
  const uris = [config.hosts.log_cache, config.hosts.log_stream];
  stack.use(registerRoutes({ bus, clock, routes: [{ host: config.address.ip, port, uris }] }));
  const { index, version } = config;
  const credentials = { user, password };
  stack.use(announceComponent({ bus, type: 'Loggregator', index, version, host: status.address, credentials }));
  log.info({ port, status: status.address }, 'loggregator started');
  const running = stack.move();
  return {
    addresses: { http: `http://${config.listen.host}:${port}`, status: `http://${status.address}` },
    [Symbol.asyncDispose]: async () => await running.disposeAsync(),
  };
}
