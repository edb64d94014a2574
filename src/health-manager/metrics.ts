import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '#kernel/clock.ts';
import type { Step } from './plan.ts';
import type { Counts, Reconciler } from './reconciler.ts';

/** A look at all that is desired and runs takes a while where there is much: one serves all who ask within this. */
const COUNTS_KEPT_MS = 1000;

const ASKED: Readonly<Record<string, (step: Step) => boolean>> = {
  StartMissing: (step) => step.why === 'missing',
  StartCrashed: (step) => step.why === 'crashed',
  StartEvacuating: (step) => step.why === 'evacuating',
  StopExtra: (step) => step.why === 'extra' || step.why === 'undesired' || step.why === 'old version',
  StopDuplicate: (step) => step.why === 'duplicate',
  StopEvacuationComplete: (step) => step.why === 'evacuated',
};

export interface MetricsOptions {
  registry: Registry;
  reconciler: Reconciler;
  clock: Clock;
  isLeader: () => boolean;
}

/** HM9000's figures by their own names; -1 while what they count is not known to be fresh. docs/guides/operating-health.md */
export class Metrics {
  readonly #options: MetricsOptions;
  readonly #asked: Counter<'step' | 'why'>;
  readonly #rounds: Histogram;
  readonly #totals = new Map<string, number>(Object.keys(ASKED).map((name) => [name, 0]));
  #receivedBeats = 0;
  #sync_ms = -1;
  #counts: { at: number; counts: Counts } | undefined;

  constructor(options: MetricsOptions) {
    this.#options = options;
    const registers = [options.registry];
    this.#asked = new Counter({
      name: 'hm9000_asked_total',
      help: 'starts and stops asked of the cloud controller',
      labelNames: ['step', 'why'],
      registers,
    });
    this.#rounds = new Histogram({
      name: 'hm9000_round_seconds',
      help: 'how long a round of comparison took, from looking until all was asked for',
      buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    });
    const { varz } = this;
    for (const name of Object.keys(this.varz())) {
      new Gauge({
        name: `hm9000_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/^_/, '')}`,
        help: name,
        registers,
        collect() {
          this.set(varz()[name] ?? -1);
        },
      });
    }
  }

  round(took_ms: number, steps: readonly Step[]): void {
    this.#rounds.observe(took_ms / 1000);
    for (const step of steps) {
      this.#asked.inc({ step: step.do, why: step.why });
      for (const [name, isCounted] of Object.entries(ASKED))
        if (isCounted(step)) this.#totals.set(name, (this.#totals.get(name) ?? 0) + 1);
    }
  }

  beat(): void {
    this.#receivedBeats += 1;
  }

  /** The whole desired state was read. */
  synced(took_ms: number): void {
    this.#sync_ms = took_ms;
  }

  readonly varz = (): Record<string, number> => {
    const { reconciler, clock, isLeader } = this.#options;
    const now = clock.monotonic();
    const isFresh = reconciler.isFresh(now);
    const known = (value: number): number => (isFresh ? value : -1);
    if (!this.#counts || now - this.#counts.at >= COUNTS_KEPT_MS)
      this.#counts = { at: now, counts: reconciler.counts() };
    const { counts } = this.#counts;
    return {
      Leader: isLeader() ? 1 : 0,
      Fresh: isFresh ? 1 : 0,
      NumberOfDeas: reconciler.actual.deaCount,
      NumberOfDesiredApps: known(counts.desiredApps),
      NumberOfDesiredInstances: known(counts.desiredInstances),
      NumberOfDesiredAppsPendingStaging: known(counts.pendingStaging),
      NumberOfAppsWithAllInstancesReporting: known(counts.completeApps),
      NumberOfAppsWithMissingInstances: known(counts.incompleteApps),
      NumberOfRunningInstances: known(counts.runningInstances),
      NumberOfMissingIndices: known(counts.missingIndices),
      NumberOfCrashedIndices: known(counts.crashedIndices),
      NumberOfUndesiredRunningApps: known(counts.undesiredApps),
      ReceivedHeartbeats: this.#receivedBeats,
      DesiredStateSyncTimeInMilliseconds: this.#sync_ms,
      ...Object.fromEntries(this.#totals),
    };
  };
}
