import type { Clock } from '#kernel/clock.ts';
import { WardenError } from '#http/warden-client.ts';

/** Freed numbers rest so long: interfaces and connections of the last owner are gone by then. */
const REST_MS = 2000;

/** Numbers from 0 to below `count`, each held by one container at a time; the lowest that has rested is taken. */
export class Slots {
  readonly #count: number;
  readonly #clock: Clock;
  readonly #held = new Set<number>();
  readonly #restsUntil = new Map<number, number>();

  constructor(count: number, clock: Clock) {
    this.#count = count;
    this.#clock = clock;
  }

  /** Errors: WardenError resources_exhausted. */
  acquire(): number {
    const slot = this.next();
    if (slot === undefined) {
      throw new WardenError('resources_exhausted', `all ${this.#count} places for containers are taken`);
    }
    this.#held.add(slot);
    return slot;
  }

  /** What acquire would give now. One that still rests is better than none. */
  next(): number | undefined {
    const now = this.#clock.monotonic();
    let resting: number | undefined;
    for (let slot = 0; slot < this.#count; slot++) {
      if (this.#held.has(slot)) continue;
      if ((this.#restsUntil.get(slot) ?? 0) <= now) return slot;
      resting ??= slot;
    }
    return resting;
  }

  hold(slot: number): void {
    this.#held.add(slot);
  }

  release(slot: number): void {
    this.#held.delete(slot);
    this.#restsUntil.set(slot, this.#clock.monotonic() + REST_MS);
  }
}

/** Ports of the host, taken in turn so that a freed one rests for long. */
export class HostPorts {
  readonly #pool: { first: number; last: number };
  readonly #held = new Set<number>();
  #next: number;

  constructor(pool: { first: number; last: number }) {
    this.#pool = pool;
    this.#next = pool.first;
  }

  /** Errors: WardenError resources_exhausted, also when the one asked for is held; invalid_request when it is not of the pool. */
  acquire(wanted?: number): number {
    const { first, last } = this.#pool;
    if (wanted !== undefined) {
      if (wanted < first || wanted > last) {
        throw new WardenError('invalid_request', `host port ${wanted} is not within ${first} to ${last}`);
      }
      if (this.#held.has(wanted)) throw new WardenError('resources_exhausted', `host port ${wanted} is taken`);
      this.#held.add(wanted);
      return wanted;
    }
    for (let tries = first; tries <= last; tries++) {
      const port = this.#next;
      this.#next = port === last ? first : port + 1;
      if (this.#held.has(port)) continue;
      this.#held.add(port);
      return port;
    }
    throw new WardenError('resources_exhausted', `all host ports from ${first} to ${last} are taken`);
  }

  hold(port: number): void {
    this.#held.add(port);
    if (port >= this.#next) this.#next = port === this.#pool.last ? this.#pool.first : port + 1;
  }

  release(port: number): void {
    this.#held.delete(port);
  }
}
