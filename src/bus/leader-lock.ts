import { Kvm, type KV } from '@nats-io/kv';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Bus } from './bus.ts';

export interface LeaderLockOptions {
  bus: Bus;
  /** What is led; one lock per name. */
  name: string;
  /** A leader that did not renew for so long has lost its lead. */
  ttl_ms: number;
  log: Log;
}

const BUCKET = 'locks';

/**
 * Leadership by an entry in JetStream's key-value store: whoever creates it leads for as long as it renews it; it vanishes by
 * itself `ttl_ms` after the last renewal. While the store cannot be reached nobody's lead outlives its own last renewal, so two
 * never lead at once.
 */
export class LeaderLock implements AsyncDisposable {
  readonly #options: LeaderLockOptions;
  readonly #id = randomUUID();
  readonly #stop = new AbortController();
  #store: KV | undefined;
  #revision: number | undefined;
  #leadsUntil = -Infinity;
  readonly #done: Promise<void>;

  constructor(options: LeaderLockOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  /** Whether this process leads right now. */
  get isLeader(): boolean {
    return performance.now() < this.#leadsUntil;
  }

  /** Gives the lead back, so that another takes it at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
    if (this.isLeader && this.#revision !== undefined) {
      await this.#store?.delete(this.#options.name, { previousSeq: this.#revision }).catch(() => {});
    }
    this.#leadsUntil = -Infinity;
  }

  async #run(): Promise<void> {
    const { ttl_ms, log, name } = this.#options;
    let wasLeader = false;
    while (!this.#stop.signal.aborted) {
      try {
        await this.#attempt();
      } catch (error) {
        log.debug({ lock: name, error: describeError(error) }, 'lock not had');
      }
      if (this.isLeader !== wasLeader) {
        wasLeader = this.isLeader;
        log.info({ lock: name }, wasLeader ? 'leading' : 'no longer leading');
      }
      // Who waits looks twice as often as a lead is renewed: that time comes on top of the leader's own.
      await sleep(this.isLeader ? ttl_ms / 4 : ttl_ms / 8, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }

  async #attempt(): Promise<void> {
    const { bus, ttl_ms, name } = this.#options;
    if (!bus.isConnected) return;
    this.#store ??= await new Kvm(bus.connection).create(BUCKET, { ttl: ttl_ms, history: 1, replicas: 1 });
    // The lead is counted from before the request: the store counts from when it gets it, which is later.
    const asked = performance.now();
    if (this.#revision !== undefined) {
      try {
        this.#revision = await this.#store.update(name, this.#id, this.#revision);
        this.#leadsUntil = asked + ttl_ms;
        return;
      } catch {
        this.#revision = undefined;
        this.#leadsUntil = -Infinity;
      }
    }
    this.#revision = await this.#store.create(name, this.#id);
    this.#leadsUntil = asked + ttl_ms;
  }
}
