import type { DesiredProcess } from '#contracts/cloud-controller.ts';
import type { DeaHeartbeat, DropletExited } from '#contracts/dea.ts';
import { ActualState, type Changes } from './actual-state.ts';
import { Backlog } from './backlog.ts';
import { DesiredState } from './desired-state.ts';
import { isAsDesired, planProcess, type IndexMemory, type PlanRules, type ProcessMemory, type Step } from './plan.ts';

export interface Counts {
  desiredApps: number;
  desiredInstances: number;
  pendingStaging: number;
  /** Apps of which every desired index runs, and those of which some do not. */
  completeApps: number;
  incompleteApps: number;
  runningInstances: number;
  missingIndices: number;
  /** Those of the missing that are down by a crash. */
  crashedIndices: number;
  undesiredApps: number;
}

export interface ReconcilerOptions extends PlanRules {
  silence_ms: number;
  desired_ttl_ms: number;
  crash_count_ttl_ms: number;
  max_starts_per_round: number;
}

/** Timers are late by less than this on a busy machine. */
const MIN_SLEEP_MS = 1000;

/** Everything is looked at again within so many rounds, a few seconds more than a reading of the desired state. */
const ROUNDS_PER_SWEEP = 100;

type Start = Step & { do: 'start' };
type Stop = Step & { do: 'stop' };

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
  readonly #backlog = new Backlog();
  #wasFresh = false;
  #areAllDirty = false;
  #sweeping: Iterator<string> | undefined;
  #wasLeading = true;
  #wokeAt: number | undefined;
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
   * Another health manager asked for this: should it fall silent, we do not ask for it again.
   */
  asked(
    step: { do: 'start' | 'stop'; droplet: string; version: string; index: number; instance?: string },
    now: number,
  ): void {
    const memory = this.#memoryOf(step.droplet);
    if (step.instance !== undefined) memory.askedStopAt.set(step.instance, now);
    else {
      memory.version ??= step.version;
      if (memory.version === step.version) this.#indexMemory(step).askedStartAt = now;
    }
    this.#dirty.add(step.droplet);
  }

  /**
   * To be called every so often: when the call before is long ago we did not run (a machine that slept, a process that was
   * stopped), and what was not heard meanwhile is nobody's silence.
   */
  wake(now: number): void {
    const slept_ms = now - (this.#wokeAt ?? now);
    this.#wokeAt = now;
    if (slept_ms > Math.max(MIN_SLEEP_MS, this.#options.silence_ms / 4)) this.actual.excuse(slept_ms);
  }

  /**
   * What to ask for now, most urgent first: apps with the least left. Silent DEAs are forgotten here. On stale knowledge it is
   * nothing, and all is looked at anew once it is fresh. One that does not lead remembers all the same and asks for nothing.
   */
  round(now: number, role: { isLeading: boolean } = { isLeading: true }): { steps: Step[]; lostDeas: string[] } {
    if (!this.isFresh(now)) {
      this.#wasFresh = false;
      return { steps: [], lostDeas: [] };
    }
    const expired = this.actual.expire(now);
    this.#note(expired);
    if (!this.#wasFresh) {
      this.#wasFresh = true;
      this.#listeningSince = now - this.#options.silence_ms;
      this.lookAtAll();
    }
    if (role.isLeading !== this.#wasLeading) this.lookAtAll();
    this.#wasLeading = role.isLeading;
    for (const [droplet, at] of this.#due) if (at <= now) this.#dirty.add(droplet);
    const starts: Start[] = [];
    const stops: Stop[] = [];
    for (const droplet of this.#toLookAt()) {
      for (const step of this.#plan(droplet, now)) {
        if (step.do === 'start') starts.push(step);
        else stops.push(step);
      }
    }
    this.#dirty.clear();
    this.#areAllDirty = false;
    const steps = role.isLeading ? this.#ask(starts, stops, now) : [];
    this.#listeningSince = Infinity;
    return { steps, lostDeas: expired.deas };
  }

  /** The next round compares everything, whether or not something was heard of it. */
  lookAtAll(): void {
    this.#areAllDirty = true;
  }

  *#toLookAt(): Generator<string> {
    if (!this.#areAllDirty) {
      for (const droplet of this.#dirty) {
        this.#backlog.delete(droplet);
        yield droplet;
      }
      yield* this.#sweep();
      return;
    }
    this.#backlog.clear();
    yield* this.desired.droplets();
    for (const droplet of this.actual.droplets()) if (!this.desired.get(droplet)) yield droplet;
    // What is in neither any more is forgotten.
    for (const droplet of this.#dirty)
      if (!this.desired.get(droplet) && this.actual.instancesOf(droplet).length === 0) yield droplet;
  }

  /** A part of everything each round, whether or not something was heard of it: whatever may have been missed is found. */
  *#sweep(): Generator<string> {
    for (let n = Math.ceil(this.desired.size / ROUNDS_PER_SWEEP); n > 0; n--) {
      const next = this.#sweeping?.next();
      if (!next || next.done === true) {
        this.#sweeping = this.desired.droplets();
        return;
      }
      if (!this.#dirty.has(next.value) && !this.#backlog.has(next.value)) yield next.value;
    }
  }

  /** What there is, for people to read; walks everything, so ask for it seldom. */
  counts(): Counts {
    const counts: Counts = {
      desiredApps: 0,
      desiredInstances: 0,
      pendingStaging: 0,
      completeApps: 0,
      incompleteApps: 0,
      runningInstances: 0,
      missingIndices: 0,
      crashedIndices: 0,
      undesiredApps: 0,
    };
    for (const droplet of this.desired.droplets()) {
      const process = this.desired.get(droplet);
      if (process?.state === 'STARTED') this.#count(process, counts);
    }
    for (const droplet of this.actual.droplets()) {
      for (const { state } of this.actual.instancesOf(droplet)) if (state === 'RUNNING') counts.runningInstances += 1;
      if (this.desired.get(droplet)?.state !== 'STARTED') counts.undesiredApps += 1;
    }
    return counts;
  }

  #count(process: DesiredProcess, counts: Counts): void {
    counts.desiredApps += 1;
    counts.desiredInstances += process.instances;
    if (process.package_state === 'PENDING') counts.pendingStaging += 1;
    const actual = this.actual.instancesOf(process.droplet);
    if (isAsDesired(process, actual)) {
      counts.completeApps += 1;
      return;
    }
    const serves = (i: { state: string; version: string; index: number }): boolean =>
      i.state === 'RUNNING' && i.version === process.version && i.index < process.instances;
    const missing = process.instances - new Set(actual.filter(serves).map((i) => i.index)).size;
    counts.missingIndices += missing;
    if (missing === 0) counts.completeApps += 1;
    else counts.incompleteApps += 1;
    for (const [index, { crash }] of this.#memory.get(process.droplet)?.indices ?? []) {
      const isDown = !actual.some((i) => i.index === index && serves(i));
      if (crash && isDown) counts.crashedIndices += 1;
    }
  }

  /** Of the starts so many at once, the most urgent; the rest wait, and are planned anew when it is their turn. */
  #ask(starts: Start[], stops: Stop[], now: number): Step[] {
    const taken: Start[] = [];
    const take = (start: Start): void => {
      if (taken.length >= this.#options.max_starts_per_round) this.#backlog.add(start.droplet, start.urgency);
      else {
        this.#indexMemory(start).askedStartAt = now;
        taken.push(start);
      }
    };
    starts.sort((one, other) => other.urgency - one.urgency);
    let next = 0;
    while (taken.length < this.#options.max_starts_per_round) {
      const start = starts[next];
      const waiting = this.#backlog.first();
      if (waiting && (!start || waiting.urgency >= start.urgency)) {
        this.#backlog.delete(waiting.droplet);
        for (const step of this.#plan(waiting.droplet, now)) {
          if (step.do === 'start') take(step);
          else stops.push(step);
        }
      } else if (start) {
        take(start);
        next += 1;
      } else break;
    }
    for (const late of starts.slice(next)) take(late);
    for (const stop of stops) this.#memoryOf(stop.droplet).askedStopAt.set(stop.instance, now);
    return [...taken, ...stops];
  }

  #plan(droplet: string, now: number): Step[] {
    const desired = this.desired.get(droplet);
    const actual = this.actual.instancesOf(droplet);
    const known = this.#memory.get(droplet);
    if (desired === undefined ? actual.length === 0 : !known && isAsDesired(desired, actual)) {
      this.#memory.delete(droplet);
      this.#due.delete(droplet);
      return [];
    }
    const memory = known ?? this.#memoryOf(droplet);
    this.#refresh(memory, { desired, actual, now });
    const { steps, due } = planProcess({
      now,
      droplet,
      desired,
      actual,
      memory,
      doubtful: this.actual.doubtful,
      rules: this.#options,
    });
    if (due === undefined) this.#due.delete(droplet);
    else this.#due.set(droplet, due);
    const isWorthKeeping = memory.indices.size + memory.askedStopAt.size + memory.duplicateSince.size > 0;
    if (!isWorthKeeping) this.#memory.delete(droplet);
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
