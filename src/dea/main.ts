import { availableParallelism } from 'node:os';
import { mkdir } from 'node:fs/promises';
import { Bus } from '#bus/bus.ts';
import { LogEmitter } from '#bus/log-emitter.ts';
import { WardenClient } from '#http/warden-client.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import { listen } from './bus.ts';
import { Capacity } from './capacity.ts';
import { openCaches } from './caches.ts';
import { Cell } from './cell.ts';
import type { DeaConfig } from './config.ts';
import { ContainerReaper } from './container-reaper.ts';
import { Discovery } from './discovery/discovery.ts';
import { evacuate, stopAll } from './evacuation.ts';
import { openIdentities } from './identity/identities.ts';
import { Reports } from './reports.ts';
import { Routes } from './routes.ts';
import { onSignals } from './signals.ts';
import { SshDoor } from './ssh-door.ts';
import { Stager } from './staging/stager.ts';
import { serveStatus } from './status.ts';
import { ServiceBindings } from './service-bindings.ts';
import { Store } from './store.ts';
import { UsageSampler } from './usage.ts';

/**
 * The DEA: stages packages and runs instances in warden's containers, as the cloud controller orders over NATS, and says
 * every few seconds what it holds. Disposing of it leaves the containers running, for its next start to adopt.
 */
export async function start(config: DeaConfig, { log, clock }: ComponentContext): Promise<RunningComponent> {
  const { base_dir, intervals } = config;
  await mkdir(base_dir, { recursive: true, mode: 0o700 });
  const { ip, index, zone, isolation_segment } = config;
  const dea = { id: await Store.id(base_dir), ip, index, zone, isolation_segment };
  const snapshot = await Store.load(base_dir);
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: `dea-${config.index}`, log }));
  const warden = stack.use(new WardenClient({ socket_path: config.warden_socket }));
  const tags = { origin: 'dea', deployment: 'ingot', job: 'dea', index: dea.id, ip: dea.ip };
  const emitter = stack.use(new LogEmitter({ publisher: bus, tags }));
  const { droplets, buildpacks, images, reap } = await openCaches(config, { clock, log, warden });
  const capacity = Capacity.of(config.resources);
  const store = stack.use(new Store(base_dir, () => ({ instances: cell.records, reports: reports.pending })));
  const save = async (): Promise<void> => await store.save();
  const reports = stack.use(
    new Reports({ ...config, ...config.staging, known: snapshot.reports, clock, log, changed: save }),
  );
  const routes = stack.use(new Routes({ bus, clock, dea, register_s: intervals.router_register_s }));
  const held = (): Cell['instances'] => cell.instances;
  const discovery = stack.use(new Discovery({ dea: dea.id, base_dir, bus, warden, clock, log, instances: held }));
  const shared = { warden, clock, log, emitter };
  const entitling = { memory_mb: capacity.total.memory_mb, cores: availableParallelism() };
  const usage: ConstructorParameters<typeof Cell>[0]['usage'] = (instances) =>
    new UsageSampler({ ...shared, ...entitling, instances, stats_s: intervals.stats_s });
  const bindings = new ServiceBindings(config);
  await bindings.sweep(snapshot.instances.map(({ start }) => start.instance));
  const identities = await openIdentities({ config, clock, log, instances: held, known: snapshot.instances });
  if (identities) stack.use(identities);
  const instances = { ...shared, dea, settings: config.instance, droplets, images, bindings, identities };
  const cell: Cell = stack.use(
    new Cell({ config, dea, bus, clock, log, capacity, routes, discovery, reports, save, instances, usage }),
  );
  const stager = stack.use(
    new Stager({ ...shared, dea: dea.id, config, base_dir, buildpacks, droplets, capacity, reports }),
  );

  cell.adopt(snapshot.instances);
  for (const report of snapshot.reports) if (report.result) await reports.send(report);
  void stager.recover(snapshot.reports.filter((report) => !report.result).map((report) => report.guid));
  stack.use(listen(bus, dea.id, cell, stager));
  stack.use(await SshDoor.open({ bus, cell, warden, clock, log, dea, listen: config.ssh }));
  cell.advertise();

  const known = (): Set<string> => new Set([...cell.handles, ...stager.handles]);
  stack.use(new ContainerReaper({ ...shared, dea: dea.id, known, reap_s: intervals.container_reap_s }));
  stack.use(clock.every(intervals.cache_reap_s * 1000, reap));
  stack.use(clock.every(1000, save));
  const figures = { cell, stager, capacity, emitter };
  const status = stack.use(await serveStatus({ config, bus, figures, isHealthy: () => store.failure === undefined }));
  log.info({ dea: dea.id, instances: snapshot.instances.length }, 'dea started');
  const bail_out_s = config.evacuation_bail_out_time_s;
  stack.use(
    onSignals(
      {
        SIGUSR1: async () => await stopAll(cell),
        SIGUSR2: async () => await evacuate({ cell, stager, clock, log, bail_out_s }),
      },
      log,
    ),
  );
  const owned = stack.move();
  return { addresses: status.addresses, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}
