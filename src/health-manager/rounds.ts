import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import { ask } from './bus.ts';
import type { Metrics } from './metrics.ts';
import type { Step } from './plan.ts';
import type { Reconciler } from './reconciler.ts';

const ROUND_MS = 250;
/** With more than this in one round a line each would say less, and hold up the next round. */
const STEPS_TOLD_ONE_BY_ONE = 100;

export interface RoundsOptions {
  bus: Bus;
  clock: Clock;
  log: Log;
  reconciler: Reconciler;
  metrics: Metrics;
  isLeader: () => boolean;
}

/** Compares each quarter second, and at once when nudged; asks for what comes of it, and tells it in the log. */
export class Rounds implements Disposable {
  readonly #options: RoundsOptions;
  readonly #timer: Disposable;
  #wasFresh = false;
  #nudge: NodeJS.Immediate | undefined;

  constructor(options: RoundsOptions) {
    this.#options = options;
    this.#timer = options.clock.every(ROUND_MS, () => this.#round());
  }

  /** Something was heard that is worth a round now: one for all that is heard in the same turn. */
  nudge(): void {
    this.#nudge ??= setImmediate(() => {
      this.#nudge = undefined;
      this.#round();
    });
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    clearImmediate(this.#nudge);
  }

  #round(): void {
    const { bus, clock, reconciler, metrics, isLeader } = this.#options;
    const began = clock.monotonic();
    reconciler.wake(began);
    if (!bus.isConnected) return;
    const { steps, lostDeas } = reconciler.round(began, { isLeading: isLeader() });
    for (const step of steps) ask(bus, step);
    metrics.round(clock.monotonic() - began, steps);
    this.#tell(steps, lostDeas, reconciler.isFresh(began));
  }

  #tell(steps: readonly Step[], lostDeas: readonly string[], isFresh: boolean): void {
    const { log, reconciler } = this.#options;
    if (isFresh !== this.#wasFresh) {
      this.#wasFresh = isFresh;
      log.info({ deas: reconciler.actual.deaCount }, isFresh ? 'knowledge fresh' : 'knowledge not fresh');
    }
    for (const dea of lostDeas) log.warn({ dea }, 'dea silent, its instances count as gone');
    if (steps.length > STEPS_TOLD_ONE_BY_ONE) {
      const starts = steps.filter((step) => step.do === 'start').length;
      log.warn({ starts, stops: steps.length - starts }, 'many starts and stops asked for');
      return;
    }
    for (const step of steps) log.info({ ...step }, step.do === 'start' ? 'start asked for' : 'stop asked for');
  }
}
