import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { announceComponent } from '#bus/announce.ts';
import { Bus } from '#bus/bus.ts';
import { StatusServer } from '#http/status-server.ts';
import { WardenClient } from '#http/warden-client.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import { listen } from './bus.ts';
import { Capacity } from './capacity.ts';
import { Cell } from './cell.ts';
import type { DeaConfig } from './config.ts';
import { ContainerReaper } from './container-reaper.ts';
import { DropletCache } from './droplet-cache.ts';
import { evacuate } from './evacuation.ts';
import { LogEmitter } from './log-emitter.ts';
import { Reports } from './reports.ts';
import { Routes } from './routes.ts';
import { BuildpackCache } from './staging/buildpack-cache.ts';
import { onSignals } from './signals.ts';
import { Stager } from './staging/stager.ts';
import { Store } from './store.ts';
import { UsageSampler } from './usage.ts';
import { addFigures } from './figures.ts';

export type RunningDea = RunningComponent & {
  readonly id: string;
  /** Leaves this machine; what SIGUSR2 asks for. */
  evacuate(): Promise<void>;
  /** Stops every instance with its grace; what SIGUSR1 asks for. */
  stopAll(): Promise<void>;
};

/**
 * The DEA: stages packages and runs instances in warden's containers, as the cloud controller orders over NATS, and says
 * every few seconds what it holds. Disposing of it leaves the containers running, for its next start to adopt.
 */
export async function start(config: DeaConfig, { log, clock }: ComponentContext): Promise<RunningDea> {
  const { base_dir, intervals, resources } = config;
  await mkdir(base_dir, { recursive: true });
  const dea = { id: await Store.id(base_dir), ip: config.ip, index: config.index, zone: config.zone };
  const snapshot = await Store.load(base_dir);
  await using stack = new AsyncDisposableStack();
  const credentials = config.nats_credentials ? { credentials: config.nats_credentials } : {};
  const bus = stack.use(
    await Bus.connect({ servers: config.nats_servers, name: `dea-${config.index}`, log, ...credentials }),
  );
  const warden = stack.use(new WardenClient({ socket_path: config.warden_socket }));
  const tags = { origin: 'dea', deployment: 'ingot', job: 'dea', index: dea.id, ip: dea.ip };
  const emitter = stack.use(new LogEmitter({ bus, clock, tags }));
  const caches = { clock, log };
  const { droplet_cache_mb, buildpack_cache_mb, instance: settings } = config;
  const droplets = await DropletCache.open({
    ...caches,
    folder: join(base_dir, 'droplets'),
    max_cached_mb: droplet_cache_mb,
    max_droplet_bytes: settings.max_droplet_bytes,
  });
  const buildpacks = await BuildpackCache.open({
    ...caches,
    folder: join(base_dir, 'buildpacks'),
    max_cached_mb: buildpack_cache_mb,
  });
  const capacity = new Capacity({
    memory_mb: resources.memory_mb * resources.memory_overcommit_factor,
    disk_mb: resources.disk_mb * resources.disk_overcommit_factor,
  });
  const store = stack.use(new Store(base_dir, () => ({ instances: cell.records, reports: reports.pending })));
  const save = async (): Promise<void> => await store.save();
  const reports = stack.use(
    new Reports({ ...config, report_for_s: config.staging.report_for_s, clock, log, changed: save }),
  );
  const routes = stack.use(new Routes({ bus, clock, dea, register_s: intervals.router_register_s }));
  const shared = { warden, clock, log, emitter };
  const usage: ConstructorParameters<typeof Cell>[0]['usage'] = (instances) =>
    new UsageSampler({ ...shared, instances, stats_s: intervals.stats_s });
  const instances = { ...shared, dea, settings, droplets };
  const cell: Cell = stack.use(
    new Cell({ config, dea, bus, clock, log, capacity, routes, reports, save, instances, usage }),
  );
  const stager = stack.use(new Stager({ ...shared, dea: dea.id, config, base_dir, buildpacks, capacity, reports }));

  cell.adopt(snapshot.instances);
  for (const report of snapshot.reports) if (report.result) await reports.send(report);
  void stager.recover(snapshot.reports.filter((report) => !report.result).map((report) => report.guid));
  stack.use(listen(bus, dea.id, cell, stager));
  cell.advertise();

  const known = (): Set<string> => new Set([...cell.handles, ...stager.handles]);
  stack.use(new ContainerReaper({ ...shared, dea: dea.id, known, reap_s: intervals.container_reap_s }));
  stack.use(
    clock.every(
      intervals.cache_reap_s * 1000,
      async () => await Promise.all([droplets.reap(), buildpacks.reap()]).then(() => {}),
    ),
  );
  stack.use(clock.every(1000, save));
  const addresses: Record<string, string> = {};
  if (config.status) {
    const status = stack.use(
      await StatusServer.start({ ...config.status, isHealthy: () => store.failure === undefined }),
    );
    addFigures(status.registry, { cell, stager, capacity, emitter });
    addresses['status'] = status.address;
    stack.use(
      announceComponent({
        bus,
        type: 'DEA',
        index: config.index,
        version: config.version,
        host: status.address,
        credentials: status.credentials,
      }),
    );
  }
  log.info({ dea: dea.id, instances: snapshot.instances.length }, 'dea started');
  const leave = async (): Promise<void> =>
    await evacuate({ cell, stager, clock, log, bail_out_s: config.evacuation_bail_out_time_s });
  const stopAll = async (): Promise<void> => {
    cell.takeNoMoreWork();
    await cell.stopAll('DEA_SHUTDOWN');
  };
  stack.use(onSignals({ SIGUSR1: stopAll, SIGUSR2: leave }, log));
  const owned = stack.move();
  return {
    id: dea.id,
    addresses,
    evacuate: leave,
    stopAll,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}
