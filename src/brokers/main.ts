/**
 * The service brokers that we ship. Each is an ordinary broker over HTTP, below a path with its name; what tenants use are real
 * servers, run and limited here, that go on while this process is away.
 */
import { join } from 'node:path';
import { openBlobstore } from '#blobs/config.ts';
import { announceComponent } from '#bus/announce.ts';
import { Bus } from '#bus/bus.ts';
import { registerRoutes } from '#bus/route-registrar.ts';
import { Database } from '#db/database.ts';
import { migrate } from '#db/migrate.ts';
import { createHttpServer, listen } from '#http/server.ts';
import { StatusServer } from '#http/status-server.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import type { BrokersConfig } from './config.ts';
import { serveBrokers, useOsbErrors } from './http.ts';
import { Broker } from './osb/broker.ts';
import { openServices } from './services.ts';
import type { BrokerTables } from './tables.ts';

const MIGRATIONS = join(import.meta.dirname, '../../migrations/brokers');
const BODY_LIMIT_BYTES = 1024 * 1024;

export async function start(config: BrokersConfig, context: ComponentContext): Promise<RunningComponent> {
  const { log } = context;
  await using stack = new AsyncDisposableStack();
  await migrate({ url: config.database.url, folder: MIGRATIONS, log });
  const database = stack.use(new Database<BrokerTables>({ ...config.database, application_name: 'brokers', log }));
  const blobs = stack.use(await openBlobstore(config.blobstore));
  const services = openServices(config, { ...context, db: database.query, blobs });
  const brokers = services.map((service) => stack.use(new Broker({ db: database.query, log, service })));
  const server = createHttpServer({ log, body_limit_bytes: BODY_LIMIT_BYTES });
  useOsbErrors(server, log);
  serveBrokers(server, brokers, config.login);
  await Promise.all(brokers.map(async (broker) => await broker.resume()));
  stack.defer(async () => await server.close());
  const { port } = await listen(server, config.listen);
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: 'brokers', log }));
  const routes = services.flatMap((service) => service.routes ?? []);
  stack.use(registerRoutes({ bus, clock: context.clock, routes }));
  const { user, password } = config.status;
  const credentials = { user, password };
  const isHealthy = (): boolean => services.every((service) => service.isHealthy());
  const status = stack.use(await StatusServer.start({ ...config.status, credentials, isHealthy }));
  const { index, version } = config;
  stack.use(announceComponent({ bus, type: 'Brokers', index, version, host: status.address, credentials }));
  log.info({ port, brokers: services.map(({ entry }) => entry.name) }, 'brokers started');
  const running = stack.move();
  return {
    addresses: { http: `http://${config.listen.host}:${port}`, status: `http://${status.address}` },
    [Symbol.asyncDispose]: async () => await running.disposeAsync(),
  };
}
