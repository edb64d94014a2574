import { Counter, Gauge, type Registry } from 'prom-client';
import type { Clock } from '#kernel/clock.ts';
import type { Step } from './plan.ts';
import type { Reconciler } from './reconciler.ts';

/** HM9000's figures by their own names; -1 while what they count is not known to be fresh. */
export class Metrics {
  readonly #options: { registry: Registry; reconciler: Reconciler; clock: Clock; isLeader: () => boolean };
  readonly #asked: Counter<'step' | 'why'>;

  constructor(options: { registry: Registry; reconciler: Reconciler; clock: Clock; isLeader: () => boolean }) {
    this.#options = options;
    const { registry } = options;
    this.#asked = new Counter({
      name: 'hm9000_asked_total',
      help: 'starts and stops asked of the cloud controller',
      labelNames: ['step', 'why'],
      registers: [registry],
    });
    const { varz } = this;
    for (const name of Object.keys(this.varz())) {
      new Gauge({
        name: `hm9000_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/^_/, '')}`,
        help: name,
        registers: [registry],
        collect() {
          this.set(varz()[name] ?? -1);
        },
      });
    }
  }

  count(step: Step): void {
    this.#asked.inc({ step: step.do, why: step.why });
  }

  readonly varz = (): Record<string, number> => {
    const { reconciler, clock, isLeader } = this.#options;
    const isFresh = reconciler.isFresh(clock.monotonic());
    const known = (value: number): number => (isFresh ? value : -1);
    const counts = reconciler.counts();
    return {
      Leader: isLeader() ? 1 : 0,
      Fresh: isFresh ? 1 : 0,
      NumberOfDeas: reconciler.actual.deaCount,
      NumberOfDesiredApps: known(counts.desiredApps),
      NumberOfDesiredInstances: known(counts.desiredInstances),
      NumberOfRunningInstances: known(counts.runningInstances),
      NumberOfMissingIndices: known(counts.missingIndices),
      NumberOfCrashedIndices: known(counts.crashedIndices),
      NumberOfUndesiredRunningApps: known(counts.undesiredApps),
    };
  };
}
