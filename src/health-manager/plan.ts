import type { InstanceState } from '#contracts/dea.ts';
import type { DesiredProcess } from '#contracts/cloud-controller.ts';

/** Times here are ms of a monotonic clock. */
export interface ActualInstance {
  instance: string;
  dea: string;
  version: string;
  index: number;
  state: InstanceState;
  /** When this state was first heard of. */
  since: number;
}

export interface Crash {
  /** Crashes in a row, the last included. */
  count: number;
  at: number;
}

/** What is remembered of one index of one version between rounds. */
export interface IndexMemory {
  crash?: Crash;
  /** When the index was first found without an instance; 0 when it is known to be gone for good (its DEA is, or left). */
  missingSince?: number;
  askedStartAt?: number;
}

export interface ProcessMemory {
  /** Keyed by index, of the version that is desired. */
  indices: Map<number, IndexMemory>;
  version: string | undefined;
  /** Stops asked for, by instance guid. */
  askedStopAt: Map<string, number>;
  /** When a surplus instance of an index was first seen, by instance guid. */
  duplicateSince: Map<string, number>;
}

export type Step =
  | {
      do: 'start';
      droplet: string;
      version: string;
      index: number;
      why: 'missing' | 'crashed' | 'evacuating';
      urgency: number;
    }
  | {
      do: 'stop';
      droplet: string;
      version: string;
      index: number;
      instance: string;
      why: 'undesired' | 'extra' | 'old version' | 'duplicate' | 'evacuated';
    };

export interface PlanRules {
  missing_grace_ms: number;
  start_keep_alive_ms: number;
  stop_keep_alive_ms: number;
  duplicate_delay_ms: number;
  duplicate_stagger_ms: number;
  crashes_before_backoff: number;
  first_backoff_ms: number;
  max_backoff_ms: number;
}

export interface Plan {
  steps: Step[];
  /** When to look again though nothing is heard; undefined when all is as desired. */
  due: number | undefined;
}

const isLive = (instance: ActualInstance): boolean => instance.state === 'STARTING' || instance.state === 'RUNNING';

/** Whether each desired index has one running instance of the desired version and there is nothing besides: nothing to plan. */
export function isAsDesired(desired: DesiredProcess, actual: readonly ActualInstance[]): boolean {
  if (desired.state !== 'STARTED' || actual.length !== desired.instances) return false;
  const { version } = desired;
  if (
    !actual.every((i) => i.state === 'RUNNING' && i.version === version && i.index >= 0 && i.index < desired.instances)
  )
    return false;
  // Most have one or two, and there may be very many of them.
  const [one, other] = actual;
  if (actual.length <= 2) return one?.index !== other?.index;
  return new Set(actual.map((i) => i.index)).size === actual.length;
}

/** How long after the n-th crash in a row (from 1) its index is started again: 0, 0, 0, 30 s, 60 s … 960 s. */
export function backoff_ms(count: number, rules: PlanRules): number {
  const beyond = count - rules.crashes_before_backoff;
  return beyond <= 0 ? 0 : Math.min(rules.max_backoff_ms, rules.first_backoff_ms * 2 ** (beyond - 1));
}

/**
 * One process: desired minus actual gives starts and stops. Pure, so that each rule of HM9000 is a row of a table; what it has
 * to remember is in `memory`, which it reads only. The caller has made sure that both sides are fresh.
 */
export function planProcess(input: {
  now: number;
  droplet: string;
  desired: DesiredProcess | undefined;
  actual: readonly ActualInstance[];
  memory: ProcessMemory;
  /** DEAs of which a change was missed, and the list not had since. */
  doubtful?: ReadonlySet<string>;
  rules: PlanRules;
}): Plan {
  const { desired, actual } = input;
  const isWanted = desired !== undefined && desired.state === 'STARTED' && desired.instances > 0;
  if (!isWanted)
    return planStops(
      input,
      actual.map((instance) => ({ instance, why: 'undesired' as const })),
    );
  const starts = planStarts(input, desired);
  // Stops wait for a round in which nothing is missing: with an index empty, a surplus instance may be all that serves.
  if (starts.isAnyMissing) return starts;
  // What is said to serve beside it may have gone without our hearing of it.
  if (actual.some(({ dea }) => input.doubtful?.has(dea)))
    return { ...starts, due: earliest(starts.due, input.now + input.rules.stop_keep_alive_ms) };
  const stops = planStops(input, surplus(input, desired));
  return { steps: [...starts.steps, ...stops.steps], due: earliest(starts.due, stops.due) };
}

type Input = Parameters<typeof planProcess>[0];

function planStarts(
  { now, droplet, actual, memory, rules }: Input,
  desired: DesiredProcess,
): Plan & { isAnyMissing: boolean } {
  const own = actual.filter((instance) => instance.version === desired.version);
  const live = new Set(own.filter(isLive).map((instance) => instance.index));
  const evacuating = new Set(
    own.filter((instance) => instance.state === 'EVACUATING').map((instance) => instance.index),
  );
  const memoryOf = (index: number): IndexMemory =>
    memory.version === desired.version ? (memory.indices.get(index) ?? {}) : {};
  const empty = Array.from({ length: desired.instances }, (_, index) => index).filter((index) => !live.has(index));
  if (empty.length === 0) return { steps: [], due: undefined, isAnyMissing: false };
  // While a package is staged anew, or failed to, what runs is left alone and nothing new is started.
  if (desired.package_state !== 'STAGED') return { steps: [], due: undefined, isAnyMissing: true };

  const hasAllCrashed =
    live.size === 0 && evacuating.size === 0 && empty.every((index) => memoryOf(index).crash !== undefined);
  // With every instance down by crashes, one try shows whether the app can live; the rest wait for it.
  const candidates = hasAllCrashed ? empty.slice(0, 1) : empty;
  const urgency = empty.length / desired.instances;
  const steps: Step[] = [];
  let due: number | undefined;
  for (const index of candidates) {
    const { crash, missingSince, askedStartAt } = memoryOf(index);
    const why = crash ? 'crashed' : evacuating.has(index) ? 'evacuating' : 'missing';
    let at = now;
    if (crash) at = crash.at + backoff_ms(crash.count, rules);
    else if (why === 'missing') at = missingSince === 0 ? now : (missingSince ?? now) + rules.missing_grace_ms;
    if (askedStartAt !== undefined) at = Math.max(at, askedStartAt + rules.start_keep_alive_ms);
    if (at > now) due = earliest(due, at);
    else {
      steps.push({ do: 'start', droplet, version: desired.version, index, why, urgency });
      due = earliest(due, now + rules.start_keep_alive_ms);
    }
  }
  return { steps, due, isAnyMissing: true };
}

interface Surplus {
  instance: ActualInstance;
  why: Extract<Step, { do: 'stop' }>['why'];
  /** How long it has to stay surplus before it is stopped. */
  delay_ms?: number;
}

/** What is too much of a wanted process. Called only when every desired index has a live instance of the desired version. */
function surplus({ actual, rules }: Input, desired: DesiredProcess): Surplus[] {
  const runs = new Set(
    actual.filter((i) => i.version === desired.version && i.state === 'RUNNING').map((i) => i.index),
  );
  const areAllRunning = Array.from({ length: desired.instances }, (_, index) => index).every((index) =>
    runs.has(index),
  );
  const found: Surplus[] = [];
  const byIndex = new Map<number, ActualInstance[]>();
  for (const instance of actual) {
    if (instance.state === 'STOPPING' || instance.state === 'CRASHED') continue;
    if (instance.version !== desired.version) {
      // It may be what serves until the new version does.
      if (areAllRunning) found.push({ instance, why: 'old version' });
    } else if (instance.index >= desired.instances) found.push({ instance, why: 'extra' });
    else if (instance.state === 'EVACUATING') {
      if (runs.has(instance.index)) found.push({ instance, why: 'evacuated' });
    } else byIndex.set(instance.index, [...(byIndex.get(instance.index) ?? []), instance]);
  }
  for (const twins of byIndex.values()) {
    const [, ...others] = twins.sort(byWorth);
    others.forEach((instance, n) => {
      found.push({ instance, why: 'duplicate', delay_ms: rules.duplicate_delay_ms + n * rules.duplicate_stagger_ms });
    });
  }
  return found;
}

/** Of two on one index the one that runs is kept, then the older. */
function byWorth(one: ActualInstance, other: ActualInstance): number {
  const rank = (instance: ActualInstance): number => (instance.state === 'RUNNING' ? 0 : 1);
  return rank(one) - rank(other) || one.since - other.since || one.instance.localeCompare(other.instance);
}

function planStops({ now, droplet, memory, rules }: Input, found: readonly Surplus[]): Plan {
  const steps: Step[] = [];
  let due: number | undefined;
  for (const { instance, why, delay_ms = 0 } of found) {
    if (instance.state === 'STOPPING' || instance.state === 'CRASHED') continue;
    const since = memory.duplicateSince.get(instance.instance) ?? now;
    const asked = memory.askedStopAt.get(instance.instance);
    const at = Math.max(since + delay_ms, asked === undefined ? 0 : asked + rules.stop_keep_alive_ms);
    if (at > now) due = earliest(due, at);
    else {
      steps.push({
        do: 'stop',
        droplet,
        version: instance.version,
        index: instance.index,
        instance: instance.instance,
        why,
      });
      due = earliest(due, now + rules.stop_keep_alive_ms);
    }
  }
  return { steps, due };
}

function earliest(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined) return other;
  return other === undefined ? one : Math.min(one, other);
}
