import type { DesiredProcess } from '#contracts/cloud-controller.ts';
import type { DeaHeartbeat, DropletExited } from '#contracts/dea.ts';
import { ActualState, type Changes } from './actual-state.ts';
import { DesiredState } from './desired-state.ts';
import { planProcess, type IndexMemory, type PlanRules, type ProcessMemory, type Step } from './plan.ts';

export interface ReconcilerOptions extends PlanRules {
  silence_ms: number;
  desired_ttl_ms: number;
  crash_count_ttl_ms: number;
  max_starts_per_round: number;
}

/**
 * Keeps both sides, remembers what was asked, and says round by round which starts and stops to ask for. It knows no bus and no
 * clock: what is heard is given to it with the time, so that a simulator can drive it as the real edges do.
 */
export class Reconciler {
  readonly actual: ActualState;
  readonly desired: DesiredState;
  readonly #options: ReconcilerOptions;
  readonly #memory = new Map<string, ProcessMemory>();
  readonly #dirty = new Set<string>();
  readonly #due = new Map<string, number>();
  #wasFresh = false;
  /** What is found missing now was so since then: while knowledge became fresh all were listened to already. */
  #listeningSince = Infinity;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.actual = new ActualState({ silence_ms: options.silence_ms });
    this.desired = new DesiredState({ ttl_ms: options.desired_ttl_ms });
  }

  /** Takes a beat; true when the DEA should be asked for a full one. */
  beat(beat: DeaHeartbeat, now: number): boolean {
    const { unknown, ...changes } = this.actual.beat(beat, now);
    this.#note(changes);
    return unknown;
  }

  exited(exit: DropletExited, now: number): void {
    this.#note(this.actual.exited(exit));
    if (exit.reason === 'CRASHED') this.#noteCrash(exit, now);
  }

  /** One process's desired state changed. */
  updated(process: DesiredProcess): void {
    this.desired.hint(process);
    this.#dirty.add(process.droplet);
  }

  /** The whole desired state was read, beginning at `askedAt`. */
  fetched(processes: readonly DesiredProcess[], times: { askedAt: number; now: number }): void {
    for (const droplet of this.desired.replace(processes, times)) this.#dirty.add(droplet);
  }

  interrupt(now: number): void {
    this.actual.interrupt(now);
  }

  isFresh(now: number): boolean {
    return this.actual.isFresh(now) && this.desired.isFresh(now);
  }

  /**
   * What to ask for now, most urgent first: apps with the least left. Silent DEAs are forgotten here. On stale knowledge it is
   * nothing, and all is looked at anew once it is fresh.
   */
  round(now: number): { steps: Step[]; lostDeas: string[] } {
    if (!this.isFresh(now)) {
      this.#wasFresh = false;
      return { steps: [], lostDeas: [] };
    }
    const expired = this.actual.expire(now);
    this.#note(expired);
    if (!this.#wasFresh) {
      this.#wasFresh = true;
      this.#listeningSince = now - this.#options.silence_ms;
      for (const droplet of this.desired.droplets()) this.#dirty.add(droplet);
      for (const droplet of this.actual.droplets()) this.#dirty.add(droplet);
    }
    for (const [droplet, at] of this.#due) if (at <= now) this.#dirty.add(droplet);
    const steps: Step[] = [];
    for (const droplet of this.#dirty) steps.push(...this.#plan(droplet, now));
    this.#dirty.clear();
    this.#listeningSince = Infinity;
    return { steps: this.#limit(steps, now), lostDeas: expired.deas };
  }

  /** What there is, for people to read; walks everything, so ask for it seldom. */
  counts(): {
    desiredApps: number;
    desiredInstances: number;
    runningInstances: number;
    missingIndices: number;
    crashedIndices: number;
    undesiredApps: number;
  } {
    const counts = {
      desiredApps: 0,
      desiredInstances: 0,
      runningInstances: 0,
      missingIndices: 0,
      crashedIndices: 0,
      undesiredApps: 0,
    };
    for (const droplet of this.desired.droplets()) {
      const process = this.desired.get(droplet);
      if (process?.state !== 'STARTED') continue;
      counts.desiredApps += 1;
      counts.desiredInstances += process.instances;
      const running = new Set(
        this.actual
          .instancesOf(droplet)
          .flatMap((i) => (i.state === 'RUNNING' && i.version === process.version ? [i.index] : [])),
      );
      counts.missingIndices += Math.max(0, process.instances - running.size);
      for (const memory of this.#memory.get(droplet)?.indices.values() ?? [])
        if (memory.crash) counts.crashedIndices += 1;
    }
    for (const droplet of this.actual.droplets()) {
      counts.runningInstances += this.actual.instancesOf(droplet).filter((i) => i.state === 'RUNNING').length;
      if (this.desired.get(droplet)?.state !== 'STARTED') counts.undesiredApps += 1;
    }
    return counts;
  }

  /** Asked for, from now on remembered. */
  #limit(steps: Step[], now: number): Step[] {
    const starts = steps.filter((step) => step.do === 'start').sort((one, other) => other.urgency - one.urgency);
    const taken = starts.slice(0, this.#options.max_starts_per_round);
    for (const late of starts.slice(this.#options.max_starts_per_round)) this.#due.set(late.droplet, now);
    const stops = steps.filter((step) => step.do === 'stop');
    for (const start of taken) this.#indexMemory(start).askedStartAt = now;
    for (const stop of stops) this.#memoryOf(stop.droplet).askedStopAt.set(stop.instance, now);
    return [...taken, ...stops];
  }

  #plan(droplet: string, now: number): Step[] {
    const desired = this.desired.get(droplet);
    const actual = this.actual.instancesOf(droplet);
    if (desired === undefined && actual.length === 0) {
      this.#memory.delete(droplet);
      this.#due.delete(droplet);
      return [];
    }
    const memory = this.#memoryOf(droplet);
    this.#refresh(memory, { desired, actual, now });
    const { steps, due } = planProcess({ now, droplet, desired, actual, memory, rules: this.#options });
    if (due === undefined) this.#due.delete(droplet);
    else this.#due.set(droplet, due);
    return steps;
  }

  /** Brings what is remembered in line with what is seen, before it is planned by. */
  #refresh(
    memory: ProcessMemory,
    seen: { desired: DesiredProcess | undefined; actual: ReturnType<ActualState['instancesOf']>; now: number },
  ): void {
    const { desired, actual, now } = seen;
    if (desired && memory.version !== desired.version) {
      memory.version = desired.version;
      memory.indices.clear();
    }
    const live = new Map(
      actual
        .filter((i) => i.version === desired?.version && (i.state === 'STARTING' || i.state === 'RUNNING'))
        .map((i) => [i.index, i]),
    );
    for (let index = 0; index < (desired?.instances ?? 0); index++) {
      const holder = live.get(index);
      const known = memory.indices.get(index);
      if (!holder) {
        const remembered = known ?? {};
        remembered.missingSince ??= Math.min(now, this.#listeningSince);
        memory.indices.set(index, remembered);
      } else if (known) {
        delete known.missingSince;
        delete known.askedStartAt;
        const isQuiet = known.crash !== undefined && now - known.crash.at >= this.#options.crash_count_ttl_ms;
        if (isQuiet || known.crash === undefined) memory.indices.delete(index);
      }
    }
    const present = new Set(actual.map((i) => i.instance));
    for (const guid of memory.askedStopAt.keys()) if (!present.has(guid)) memory.askedStopAt.delete(guid);
    this.#noteDuplicates(memory, { actual, now });
  }

  #noteDuplicates(
    memory: ProcessMemory,
    { actual, now }: { actual: ReturnType<ActualState['instancesOf']>; now: number },
  ): void {
    const perIndex = new Map<string, string[]>();
    for (const { index, version, instance } of actual) {
      const key = `${version} ${index}`;
      perIndex.set(key, [...(perIndex.get(key) ?? []), instance]);
    }
    const surplus = new Set([...perIndex.values()].filter((guids) => guids.length > 1).flat());
    for (const guid of memory.duplicateSince.keys()) if (!surplus.has(guid)) memory.duplicateSince.delete(guid);
    for (const guid of surplus) if (!memory.duplicateSince.has(guid)) memory.duplicateSince.set(guid, now);
  }

  #note(changes: Changes): void {
    for (const droplet of changes.droplets) this.#dirty.add(droplet);
    for (const lost of changes.lost) {
      const memory = this.#memoryOf(lost.droplet);
      memory.version ??= lost.version;
      if (memory.version === lost.version) this.#indexMemory(lost).missingSince = 0;
    }
  }

  #noteCrash(exit: DropletExited, now: number): void {
    const desired = this.desired.get(exit.droplet);
    if (desired && desired.version !== exit.version) return;
    const memory = this.#memoryOf(exit.droplet);
    memory.version ??= exit.version;
    if (memory.version !== exit.version) return;
    const index = this.#indexMemory(exit);
    const isNew = index.crash === undefined || now - index.crash.at >= this.#options.crash_count_ttl_ms;
    index.crash = { count: isNew ? 1 : (index.crash?.count ?? 0) + 1, at: now };
    delete index.askedStartAt;
    this.#dirty.add(exit.droplet);
  }

  #indexMemory(of: { droplet: string; index: number }): IndexMemory {
    const { indices } = this.#memoryOf(of.droplet);
    const found = indices.get(of.index) ?? {};
    indices.set(of.index, found);
    return found;
  }

  #memoryOf(droplet: string): ProcessMemory {
    const known = this.#memory.get(droplet);
    if (known) return known;
    const fresh: ProcessMemory = {
      indices: new Map(),
      version: undefined,
      askedStopAt: new Map(),
      duplicateSince: new Map(),
    };
    this.#memory.set(droplet, fresh);
    return fresh;
  }
}
