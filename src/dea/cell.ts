import {
  deaAdvertise,
  deaShutdown,
  dropletExited,
  type DeaAdvertise,
  type DropletExited,
  type HeartbeatInstance,
  type OrderReply,
  type StartMessage,
  type StopMessage,
  type UpdateMessage,
} from '#contracts/dea.ts';
import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import type { Capacity } from './capacity.ts';
import type { DeaConfig } from './config.ts';
import type { Discovery } from './discovery/discovery.ts';
import { Heart } from './heart.ts';
import { Instance } from './instance.ts';
import type { InstanceDependencies, InstanceExit } from './instance-dependencies.ts';
import type { Reports } from './reports.ts';
import type { Routes } from './routes.ts';
import type { InstanceRecord } from './store.ts';
import type { UsageSampler } from './usage.ts';

export interface CellOptions {
  config: DeaConfig;
  dea: InstanceDependencies['dea'];
  bus: Bus;
  clock: Clock;
  log: Log;
  capacity: Capacity;
  routes: Routes;
  discovery: Pick<Discovery, 'changed'>;
  reports: Reports;
  save: () => Promise<void>;
  /** All that instances need which the cell does not give them itself. */
  instances: Omit<InstanceDependencies, 'changed' | 'exited'>;
  usage: (instances: () => Instance[]) => UsageSampler;
}

/** Crash reports that wait for the bus; a DEA holds far fewer instances. */
const MAX_UNTOLD = 10_000;
const RECONNECT_GRACE_MS = 1000;

/** The instances and tasks of this DEA: takes orders for them, keeps account of them, and tells the others. */
export class Cell implements AsyncDisposable {
  readonly #options: CellOptions;
  readonly #instances = new Map<string, Instance>();
  readonly #heart: Heart;
  readonly #usage: UsageSampler;
  readonly #handles = new Set<string>();
  readonly #stack = new DisposableStack();
  #untold: DropletExited[] = [];
  #takesWork = true;

  constructor(options: CellOptions) {
    this.#options = options;
    const { bus, clock, config } = options;
    this.#usage = this.#stack.use(options.usage(() => this.instances));
    this.#heart = this.#stack.use(
      new Heart({
        bus,
        clock,
        dea: options.dea.id,
        heartbeat_s: config.intervals.heartbeat_s,
        held: () => this.held(),
        usage: () => this.#usage.latest(),
      }),
    );
    this.#stack.use(clock.every(config.intervals.advertise_s * 1000, () => this.advertise()));
    this.#stack.use(bus.onReconnect(() => void this.#catchUp()));
  }

  get instances(): Instance[] {
    return [...this.#instances.values()];
  }

  get records(): InstanceRecord[] {
    return this.instances.map((instance) => instance.record);
  }

  /** Containers in use or still being cleared away, for the reaper. */
  get handles(): string[] {
    return [...this.#handles];
  }

  get takesWork(): boolean {
    return this.#takesWork;
  }

  /** What beats tell. Tasks are nobody's to watch: their end is reported, and reported until it is heard. */
  held(): HeartbeatInstance[] {
    return this.instances.filter((instance) => instance.start.kind === 'LRP').map((instance) => instance.describe());
  }

  usageOf(instance: Instance) {
    return this.#usage.latest()[instance.start.instance];
  }

  /** Takes up what ran before this process did. */
  adopt(records: readonly InstanceRecord[]): void {
    for (const record of records) {
      const { limits, instance: guid } = record.start;
      this.#options.capacity.hold(guid, { memory_mb: limits.mem, disk_mb: limits.disk });
      const instance = Instance.adopt(record, this.#dependencies());
      this.#instances.set(guid, instance);
      this.#handles.add(record.handle);
      this.#options.routes.update(instance);
      instance.go();
    }
    this.#heart.beatFully();
  }

  order(start: StartMessage): OrderReply {
    if (this.#instances.has(start.instance)) return { accepted: true };
    if (!this.#takesWork) return refusal('evacuating', 'This cell takes no more work.');
    if (!this.#options.config.stacks.includes(start.stack)) {
      return refusal('unknown_stack', `This cell does not have the stack ${start.stack}.`);
    }
    const error = this.#options.instances.bindings.refusalOf(start.volume_mounts);
    if (error) return { accepted: false, error };
    const amount = { memory_mb: start.limits.mem, disk_mb: start.limits.disk };
    const reserved = this.#options.capacity.reserve(start.instance, amount);
    if (!reserved.ok) return refusal('insufficient_resources', `Not enough ${reserved.lacks} resource available.`);
    const instance = Instance.begin(start, this.#dependencies());
    this.#instances.set(start.instance, instance);
    this.#handles.add(instance.record.handle);
    this.#options.log.info(
      { instance: start.instance, droplet: start.droplet, index: start.index },
      'instance ordered',
    );
    instance.go();
    // Placement goes by what is left, and the next order may come before the next interval.
    this.advertise();
    return { accepted: true };
  }

  async stop(filter: StopMessage): Promise<void> {
    const matching = this.instances.filter(({ start, state }) => {
      return (
        start.droplet === filter.droplet &&
        (filter.version === undefined || filter.version === start.version) &&
        (filter.instances === undefined || filter.instances.includes(start.instance)) &&
        (filter.indices === undefined || filter.indices.includes(start.index)) &&
        (filter.states === undefined || filter.states.includes(state))
      );
    });
    await Promise.all(matching.map(async (instance) => await instance.stop()));
  }

  async update(message: UpdateMessage): Promise<void> {
    for (const instance of this.instances) {
      if (instance.start.droplet === message.droplet) await instance.updateRoutes(message);
    }
  }

  /** Somebody wants to know what is held: all of it, or whatever there is to say. */
  beat({ is_short }: { is_short: boolean }): void {
    if (is_short) this.#heart.beat();
    else this.#heart.beatFully();
  }

  advertise(): void {
    if (!this.#takesWork) return;
    const { config, dea, capacity, bus } = this.#options;
    const available = capacity.available();
    const advertisement: DeaAdvertise = {
      ...this.#identity(),
      stacks: config.stacks,
      available_memory: available.memory_mb,
      available_disk: available.disk_mb,
      total_memory: capacity.total.memory_mb,
      total_disk: capacity.total.disk_mb,
      placement_properties: {
        zone: config.zone,
        ...(config.isolation_segment !== undefined && { isolation_segment: config.isolation_segment }),
      },
    };
    bus.publish(deaAdvertise, { ...advertisement, id: dea.id });
  }

  /** From now on every order is refused, and placement is told so. */
  takeNoMoreWork(): void {
    if (!this.#takesWork) return;
    this.#takesWork = false;
    this.#options.bus.publish(deaShutdown, this.#identity());
  }

  /** Marks all as leaving, so that the health manager starts them elsewhere while they still serve here. */
  async markEvacuating(): Promise<void> {
    await Promise.all(this.instances.map(async (instance) => await instance.markEvacuating()));
    this.#heart.beat();
  }

  async stopAll(reason: 'DEA_SHUTDOWN' | 'DEA_EVACUATION'): Promise<void> {
    await Promise.all(this.instances.map(async (instance) => await instance.stop(reason)));
  }

  /** Stops telling and asking; what runs, runs on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stack.dispose();
    for (const instance of this.instances) instance.letGo();
    await this.#options.save();
  }

  #identity() {
    const { dea, config } = this.#options;
    const app_id_to_count: Record<string, number> = {};
    for (const { start } of this.instances) app_id_to_count[start.droplet] = (app_id_to_count[start.droplet] ?? 0) + 1;
    return { id: dea.id, ip: dea.ip, version: config.version, app_id_to_count };
  }

  #dependencies(): InstanceDependencies {
    return {
      ...this.#options.instances,
      changed: async (instance) => {
        this.#options.routes.update(instance);
        this.#options.discovery.changed();
        this.#heart.changed();
        if (instance.state === 'RUNNING') void this.#usage.measure(instance);
        await this.#options.save();
      },
      exited: (instance, exit) => this.#exited(instance, exit),
    };
  }

  #exited(instance: Instance, exit: InstanceExit): void {
    const { start } = instance;
    const { routes, discovery, log, clock, dea, capacity } = this.#options;
    routes.remove(instance);
    discovery.changed();
    this.#instances.delete(start.instance);
    this.#usage.forget(start.instance);
    log.info({ instance: start.instance, droplet: start.droplet, index: start.index, ...exit }, 'instance exited');
    if (start.kind === 'TASK') void this.#reportTask(instance, exit);
    else {
      this.#tell({
        cc_partition: start.cc_partition,
        dea: dea.id,
        droplet: start.droplet,
        app: start.app,
        version: start.version,
        instance: start.instance,
        index: start.index,
        ...exit,
        ...(exit.reason === 'CRASHED' && { crash_timestamp: Math.floor(clock.now() / 1000) }),
      });
    }
    this.#heart.changed();
    void this.#options.save();
    // Its memory is taken until its container is away.
    void instance.finished.then(() => {
      capacity.release(start.instance);
      this.#handles.delete(instance.record.handle);
      this.advertise();
    });
  }

  async #reportTask(instance: Instance, exit: InstanceExit): Promise<void> {
    const failed = exit.exit_status !== 0 || exit.reason !== 'CRASHED';
    const failure_reason = failed ? exit.exit_description : null;
    const result = { failed, failure_reason, exit_status: exit.exit_status };
    await this.#options.reports.send({ kind: 'task', guid: instance.start.droplet, result });
  }

  #tell(message: DropletExited): void {
    if (this.#options.bus.publish(dropletExited, message)) return;
    if (this.#untold.length < MAX_UNTOLD) this.#untold.push(message);
  }

  async #catchUp(): Promise<void> {
    this.advertise();
    // The others come back to the bus at about the same time; what is said before they listen is lost to them.
    await this.#options.clock.sleep(RECONNECT_GRACE_MS);
    const untold = this.#untold;
    this.#untold = [];
    for (const message of untold) this.#tell(message);
    this.#options.routes.registerAll();
    // Not the whole list, which all would say at the same moment: who missed a change asks.
    this.#heart.beat();
  }
}

function refusal(code: string, message: string): OrderReply {
  return { accepted: false, error: { code, message } };
}
