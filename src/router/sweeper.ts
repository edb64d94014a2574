import type { Clock } from '#kernel/clock.ts';

/** Something with a deadline of its own, looked at twice a second. */
export interface Swept {
  /** Acts on what is overdue. `now_ms` is monotonic. */
  sweep(now_ms: number): void;
}

const INTERVAL_MS = 500;

/** All deadlines of all connections on one timer: a timer a request would cost more than most requests. */
export class Sweeper implements Disposable {
  readonly #swept = new Set<Swept>();
  readonly #timer: Disposable;

  constructor(clock: Clock) {
    this.#timer = clock.every(INTERVAL_MS, () => {
      const now_ms = clock.monotonic();
      for (const one of this.#swept) one.sweep(now_ms);
    });
  }

  add(one: Swept): void {
    this.#swept.add(one);
  }

  delete(one: Swept): void {
    this.#swept.delete(one);
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    this.#swept.clear();
  }
}
