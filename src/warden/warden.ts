import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import type { z } from 'zod';
import type { ContainerList, CreateRequest, NetworkState } from '#contracts/warden.ts';
import { describeError } from '#kernel/errors.ts';
import { WardenError } from '#http/warden-client.ts';
import { checkPaths, demolish, endWorkOn, rulesOf } from './build.ts';
import { Container } from './container.ts';
import type { Reachable } from './container-network.ts';
import type { ContainerRecord } from './depot.ts';
import type { Ground } from './ground.ts';

const RETRY_DESTROY_MS = 5000;

/** All containers of this machine's warden, and the way back to them after a restart. */
export class Warden {
  readonly #ground: Ground;
  readonly #containers = new Map<string, Container>();
  readonly #leaving = new Map<string, Promise<void>>();
  #retry: Disposable | undefined;

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /**
   * Compares what the depot says with what the kernel has: adopts what runs, ends what was half made or half destroyed, and removes
   * what belongs to nobody. To be called once, before anything else.
   */
  async recover(): Promise<void> {
    const { depot, firewall, slots, ports, log } = this.#ground;
    const records = depot.handles().map((handle) => ({ handle, record: depot.read(handle) }));
    for (const { record } of records) {
      if (!record) continue;
      slots.hold(record.slot);
      for (const { host_port } of record.ports) ports.hold(host_port);
    }
    const known = records.flatMap(({ record }) => (record ? [record] : []));
    const alive = known.filter(({ state }) => state === 'active' || state === 'stopped');
    firewall.rebuild(
      known.map((record) => rulesOf(this.#ground, record)),
      this.#ground.network.table(alive.map((record) => this.#reachable(record))),
    );
    for (const { handle, record } of records) {
      if (record?.state === 'active' || record?.state === 'stopped') {
        const container = new Container(this.#ground, record);
        container.adopt();
        this.#containers.set(handle, container);
        log.info({ handle, state: container.record.state, jobs: container.jobs.size }, 'container found again');
      } else {
        await this.#clear(handle, record);
      }
    }
    await this.#removeOrphans();
    this.#warm();
    this.#retry = this.#ground.clock.every(RETRY_DESTROY_MS, () => this.#destroyWhatFailed());
  }

  list(): ContainerList['containers'] {
    return [...this.#containers.values()].map(({ handle, record }) => ({ handle, properties: record.properties }));
  }

  /** Replaces what its owner said before of the ways between containers. */
  setNetwork(state: NetworkState): void {
    const { network, firewall } = this.#ground;
    network.replace(state);
    const staying = [...this.#containers.values()].filter(({ handle }) => !this.#leaving.has(handle));
    firewall.replaceFlows(network.table(staying.map(({ record }) => this.#reachable(record))));
  }

  #reachable({ handle, slot }: Readonly<ContainerRecord>): Reachable {
    return { handle, container_ip: this.#ground.placeOf(slot).container_ip };
  }

  /** Errors: WardenError container_not_found. */
  find(handle: string): Container {
    const container = this.#containers.get(handle);
    if (!container || this.#leaving.has(handle)) {
      throw new WardenError('container_not_found', `no container has the handle ${handle}`);
    }
    return container;
  }

  /** Errors: WardenError handle_taken, path_not_found, invalid_request, resources_exhausted, create_failed. */
  async create(request: z.output<typeof CreateRequest>): Promise<Container> {
    const { slots, ports, firewall, log, clock } = this.#ground;
    const began = clock.monotonic();
    const handle = request.handle ?? randomBytes(8).toString('hex');
    if (this.#containers.has(handle)) throw new WardenError('handle_taken', `there is a container ${handle} already`);
    const { net_in, hostname = handle, ...rest } = request;
    const draft: ContainerRecord = { ...rest, handle, hostname, slot: 0, state: 'creating', ports: [], events: [] };
    checkPaths(this.#ground, draft);
    firewall.check(rulesOf(this.#ground, draft));
    const record = { ...draft, slot: slots.acquire() };
    const container = new Container(this.#ground, record);
    this.#containers.set(handle, container);
    try {
      for (const { host_port, container_port } of net_in) {
        record.ports.push({ host_port: ports.acquire(host_port), container_port });
      }
      await container.create();
    } catch (error) {
      await this.destroy(handle).catch((fault: unknown) => {
        log.error({ handle, error: describeError(fault) }, 'container half made, and not yet destroyed');
      });
      throw error;
    }
    log.info({ handle, duration_ms: Math.round(clock.monotonic() - began) }, 'container created');
    this.#warm();
    return container;
  }

  /** Errors: WardenError container_not_found. A failure is retried in the background until it succeeds. */
  async destroy(handle: string): Promise<void> {
    const container = this.#containers.get(handle);
    if (!container) throw new WardenError('container_not_found', `no container has the handle ${handle}`);
    const leaving = this.#leaving.get(handle) ?? this.#destroyNow(container);
    this.#leaving.set(handle, leaving);
    await leaving;
  }

  /** Stops watching; containers live on. Where there are none, what they stood on is taken away as well. */
  close(): void {
    const { firewall, log, groups } = this.#ground;
    this.#retry?.[Symbol.dispose]();
    for (const container of this.#containers.values()) container.close();
    if (this.#containers.size > 0) return;
    firewall.drop();
    const left = Object.values(groups).filter((group) => !group.remove());
    if (left.length > 0) log.warn({}, 'the control groups of all containers are not empty');
  }

  async #destroyNow(container: Container): Promise<void> {
    const { log, slots, ports } = this.#ground;
    const { handle } = container;
    try {
      await container.destroy();
    } catch (error) {
      log.warn({ handle, error: describeError(error) }, 'destroy failed, it is tried again');
      throw new WardenError('internal', `container ${handle}: ${describeError(error)}`, { cause: error });
    }
    this.#containers.delete(handle);
    this.#leaving.delete(handle);
    slots.release(container.record.slot);
    for (const { host_port } of container.record.ports) ports.release(host_port);
    log.info({ handle }, 'container destroyed');
  }

  async #destroyWhatFailed(): Promise<void> {
    for (const [handle, leaving] of this.#leaving) {
      const container = this.#containers.get(handle);
      const hasFailed = await Promise.race([
        leaving.then(
          () => false,
          () => true,
        ),
        Promise.resolve(false),
      ]);
      if (!container || !hasFailed) continue;
      const again = this.#destroyNow(container);
      this.#leaving.set(handle, again);
      await again.catch(() => {});
    }
  }

  async #clear(handle: string, record: ContainerRecord | undefined): Promise<void> {
    const { depot, log, slots, ports } = this.#ground;
    log.warn({ handle, state: record?.state ?? 'unreadable' }, 'container half made or half destroyed, it is removed');
    if (record) {
      const container = new Container(this.#ground, record);
      await container.destroy({ isRecovering: true });
      slots.release(record.slot);
      for (const { host_port } of record.ports) ports.release(host_port);
      return;
    }
    await endWorkOn(this.#ground, handle);
    await demolish(this.#ground, handle, undefined);
    depot.remove(handle);
  }

  /** What the kernel has and the depot does not know. */
  async #removeOrphans(): Promise<void> {
    const { runtime, disks, groups, log } = this.#ground;
    const mounts = this.#ground.mountsOf('');
    for (const folder of [mounts, runtime.state]) mkdirSync(folder, { recursive: true });
    const found = new Set([
      ...readdirSync(mounts),
      ...readdirSync(runtime.state),
      ...disks.list(),
      ...Object.values(groups).flatMap((group) => group.names()),
    ]);
    for (const handle of found) {
      if (this.#containers.has(handle)) continue;
      log.warn({ handle }, 'remains of no container, they are removed');
      await endWorkOn(this.#ground, handle);
      await demolish(this.#ground, handle, undefined);
    }
  }

  /** The next container's user namespace takes 3 ms: it is made before it is needed. */
  #warm(): void {
    const next = this.#ground.slots.next();
    if (next === undefined) return;
    this.#ground.ids.namespaceOf(next).catch((error: unknown) => {
      this.#ground.log.warn({ error: describeError(error) }, 'no user namespace made ahead');
    });
  }
}
