import { BeatRequests } from '#bus/beat-requests.ts';
import { type BeatMark, placeBeat } from '#contracts/beat-order.ts';
import type { DeaHeartbeat, DropletExited, HeartbeatInstance, InstanceUsage } from '#contracts/dea.ts';
import type { Clock } from '#kernel/clock.ts';

/** As the v3 API names states. */
export type IndexStateName = 'RUNNING' | 'STARTING' | 'CRASHED' | 'STOPPING' | 'DOWN';

export interface IndexState {
  index: number;
  state: IndexStateName;
  /** Seconds since the epoch; 0 when it is not known. */
  since_s: number;
  routable: boolean;
  instance?: HeartbeatInstance;
  usage?: InstanceUsage;
  /** Why it is not there, for the user. */
  details: string | null;
}

export interface TrackedProcess {
  guid: string;
  version: string;
  instances: number;
}

interface Held {
  dea: string;
  beat: HeartbeatInstance;
  /** When we ordered it; undefined once the DEA has named it. */
  orderedAt_ms?: number;
}
interface Dea {
  heardAt_ms: number;
  /** Which list of it is held; undefined before one was heard. */
  mark: BeatMark | undefined;
  instances: Set<string>;
}
interface Trouble {
  version: string;
  since_s: number;
  state: 'CRASHED' | 'DOWN';
  details: string | null;
}

// An order that its DEA does not name within so long came to nothing.
const ORDER_GRACE_MS = 10_000;
/** The health manager tries a crashed index every 16 minutes at least; what is older is of a process that is gone. */
const TROUBLE_KEPT_S = 24 * 3600;

/**
 * What the DEAs say that they hold, process by process: fed by beats, by exits, and by our own orders, so that a question
 * about instances costs no question to a DEA. Every cloud controller keeps one; nothing of it is stored.
 */
export class InstanceTracker {
  readonly #clock: Clock;
  readonly #silence_ms: number;
  readonly #requests: BeatRequests;
  readonly #deas = new Map<string, Dea>();
  readonly #held = new Map<string, Held>();
  readonly #byProcess = new Map<string, Set<string>>();
  readonly #usage = new Map<string, InstanceUsage>();
  /** When an instance was heard to have gone: the answer to its order may be read after that. */
  readonly #goneAt_ms = new Map<string, number>();
  readonly #troubles = new Map<string, Map<number, Trouble>>();

  constructor(options: { clock: Clock; instance_silence_s: number; askForBeat: (dea: string) => void }) {
    this.#clock = options.clock;
    this.#silence_ms = options.instance_silence_s * 1000;
    this.#requests = new BeatRequests({ ask: options.askForBeat });
  }

  hearBeat(beat: DeaHeartbeat): void {
    const now = this.#clock.monotonic();
    const dea = this.#deaOf(beat.dea);
    dea.heardAt_ms = now;
    const place = placeBeat(dea.mark, beat);
    switch (place) {
      case 'unknown':
        this.#requests.want(beat.dea, now);
        return;
      case 'old':
        return;
      case 'same':
        break;
      case 'next':
        this.#change(beat.dea, dea, beat.changes);
        break;
      case 'full':
        this.#replace(beat.dea, dea, beat.droplets ?? []);
        break;
      default:
        place satisfies never;
    }
    dea.mark = { run: beat.run, seq: beat.seq, digest: beat.digest };
    this.#requests.heard(beat.dea, now);
  }

  hearUsage(usage: Readonly<Record<string, InstanceUsage>>): void {
    for (const [instance, figures] of Object.entries(usage))
      if (this.#held.has(instance)) this.#usage.set(instance, figures);
  }

  /** A DEA took our order; it counts as starting until the DEA's own word replaces ours. */
  ordered(dea: string, beat: HeartbeatInstance): void {
    if (this.#held.has(beat.instance) || this.#goneAt_ms.has(beat.instance)) return;
    this.#troubles.get(beat.droplet)?.delete(beat.index);
    this.#hold(beat.instance, { dea, beat, orderedAt_ms: this.#clock.monotonic() });
    this.#deaOf(dea).instances.add(beat.instance);
  }

  exited(event: DropletExited): void {
    this.#release(event.instance);
    this.#goneAt_ms.set(event.instance, this.#clock.monotonic());
    if (event.reason !== 'CRASHED') return;
    const since_s = event.crash_timestamp ?? Math.floor(this.#clock.now() / 1000);
    this.#trouble(event.droplet, event.index, {
      version: event.version,
      since_s,
      state: 'CRASHED',
      details: event.exit_description === '' ? null : event.exit_description,
    });
  }

  /** Nowhere to put an index; the user reads `details`. */
  notPlaced(process: { guid: string; version: string }, index: number, details: string): void {
    const held = this.#troubles.get(process.guid)?.get(index);
    // A crash that cannot be started again for want of room is still a crash.
    if (held?.version === process.version && held.state === 'CRASHED') return;
    const since_s = Math.floor(this.#clock.now() / 1000);
    this.#trouble(process.guid, index, { version: process.version, since_s, state: 'DOWN', details });
  }

  /** A DEA is gone with what it held. */
  forgetDea(id: string): void {
    for (const instance of this.#deas.get(id)?.instances ?? []) this.#release(instance);
    this.#deas.delete(id);
  }

  /** Drops what nothing has been heard of for long. To be called now and then. */
  prune(): void {
    const oldest = this.#clock.monotonic() - this.#silence_ms * 10;
    for (const [id, dea] of this.#deas) if (dea.heardAt_ms < oldest) this.forgetDea(id);
    const orderedBefore = this.#clock.monotonic() - ORDER_GRACE_MS;
    for (const [instance, { orderedAt_ms }] of this.#held)
      if (orderedAt_ms !== undefined && orderedAt_ms < orderedBefore) this.#release(instance);
    for (const [instance, at_ms] of this.#goneAt_ms) if (at_ms < orderedBefore) this.#goneAt_ms.delete(instance);
    const longAgo_s = this.#clock.now() / 1000 - TROUBLE_KEPT_S;
    for (const [guid, troubles] of this.#troubles) {
      for (const [index, { since_s }] of troubles) if (since_s < longAgo_s) troubles.delete(index);
      if (troubles.size === 0) this.#troubles.delete(guid);
    }
  }

  forgetProcess(guid: string): void {
    this.#troubles.delete(guid);
  }

  /** Whether the DEA was heard of, and not too long ago. */
  isHeard(dea: string): boolean {
    const known = this.#deas.get(dea);
    return known !== undefined && this.#clock.monotonic() - known.heardAt_ms <= this.#silence_ms;
  }

  /** Whether the DEA was heard of and no longer is. */
  isSilent(dea: string): boolean {
    return this.#deas.has(dea) && !this.isHeard(dea);
  }

  /** Instances of a process on DEAs that are heard of, of one version or of all. */
  instancesOf(guid: string, version?: string): (HeartbeatInstance & { dea: string })[] {
    const found: (HeartbeatInstance & { dea: string })[] = [];
    const now = this.#clock.monotonic();
    for (const instance of this.#byProcess.get(guid) ?? []) {
      const held = this.#held.get(instance);
      if (!held || !this.isHeard(held.dea)) continue;
      if (held.orderedAt_ms !== undefined && now - held.orderedAt_ms > ORDER_GRACE_MS) continue;
      if (version === undefined || held.beat.version === version) found.push({ ...held.beat, dea: held.dea });
    }
    return found;
  }

  /** By DEA, the instances of versions that are no more: they were told to stop. */
  leaving(process: { guid: string; version: string }): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { dea, version } of this.instancesOf(process.guid))
      if (version !== process.version) counts.set(dea, (counts.get(dea) ?? 0) + 1);
    return counts;
  }

  /** The state of each desired index, for stats. */
  indexStates(process: TrackedProcess): IndexState[] {
    const states: IndexState[] = Array.from({ length: process.instances }, (_, index) =>
      this.#troubleState(process, index),
    );
    for (const { dea: _dea, ...beat } of this.instancesOf(process.guid, process.version)) {
      const current = states[beat.index];
      if (current === undefined) continue;
      const state = apiState(beat);
      if (RANK[state] < RANK[current.state] || (RANK[state] === RANK[current.state] && current.routable)) continue;
      const usage = this.#usage.get(beat.instance);
      states[beat.index] = {
        index: beat.index,
        state,
        since_s: beat.state_timestamp,
        routable: beat.routable,
        instance: beat,
        ...(usage && { usage }),
        details: state === 'CRASHED' ? current.details : null,
      };
    }
    return states;
  }

  /** Whether an index of that version starts or runs somewhere and is not about to leave. */
  isAlive(process: { guid: string; version: string }, index: number): boolean {
    return this.instancesOf(process.guid, process.version).some(
      (beat) => beat.index === index && (beat.state === 'STARTING' || beat.state === 'RUNNING'),
    );
  }

  #troubleState(process: TrackedProcess, index: number): IndexState {
    const trouble = this.#troubles.get(process.guid)?.get(index);
    if (trouble === undefined || trouble.version !== process.version) {
      return { index, state: 'DOWN', since_s: 0, routable: false, details: null };
    }
    return { index, state: trouble.state, since_s: trouble.since_s, routable: false, details: trouble.details };
  }

  #trouble(guid: string, index: number, trouble: Trouble): void {
    const troubles = this.#troubles.get(guid) ?? new Map<number, Trouble>();
    this.#troubles.set(guid, troubles.set(index, trouble));
  }

  #deaOf(id: string): Dea {
    const known = this.#deas.get(id);
    if (known) return known;
    const dea: Dea = { heardAt_ms: this.#clock.monotonic(), mark: undefined, instances: new Set() };
    this.#deas.set(id, dea);
    return dea;
  }

  #change(id: string, dea: Dea, changes: DeaHeartbeat['changes']): void {
    for (const beat of changes?.held ?? []) {
      dea.instances.add(beat.instance);
      this.#hold(beat.instance, { dea: id, beat });
    }
    for (const instance of changes?.gone ?? []) if (this.#held.get(instance)?.dea === id) this.#release(instance);
  }

  #replace(id: string, dea: Dea, droplets: readonly HeartbeatInstance[]): void {
    const named = new Set(droplets.map((beat) => beat.instance));
    const now = this.#clock.monotonic();
    for (const instance of dea.instances) {
      if (named.has(instance)) continue;
      const orderedAt_ms = this.#held.get(instance)?.orderedAt_ms;
      // The beat may have been said before the order came.
      if (orderedAt_ms !== undefined && now - orderedAt_ms < ORDER_GRACE_MS) {
        named.add(instance);
        continue;
      }
      this.#release(instance);
    }
    for (const beat of droplets) this.#hold(beat.instance, { dea: id, beat });
    dea.instances = named;
  }

  #hold(instance: string, held: Held): void {
    this.#held.set(instance, held);
    const ofProcess = this.#byProcess.get(held.beat.droplet);
    if (ofProcess) ofProcess.add(instance);
    else this.#byProcess.set(held.beat.droplet, new Set([instance]));
  }

  #release(instance: string): void {
    const held = this.#held.get(instance);
    if (!held) return;
    this.#held.delete(instance);
    this.#usage.delete(instance);
    this.#deas.get(held.dea)?.instances.delete(instance);
    const ofProcess = this.#byProcess.get(held.beat.droplet);
    ofProcess?.delete(instance);
    if (ofProcess?.size === 0) this.#byProcess.delete(held.beat.droplet);
  }
}

const RANK: Record<IndexStateName, number> = { DOWN: 0, CRASHED: 1, STOPPING: 2, STARTING: 3, RUNNING: 4 };

function apiState(beat: HeartbeatInstance): IndexStateName {
  // An instance that leaves its DEA serves until its successor does.
  return beat.state === 'EVACUATING' ? 'RUNNING' : beat.state;
}
