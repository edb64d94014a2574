import { type BeatMark, placeBeat } from '#contracts/beat-order.ts';
import type { DeaHeartbeat, DropletExited, HeartbeatInstance } from '#contracts/dea.ts';
import type { ActualInstance } from './plan.ts';

/** All there is of an instance, once, however many lists it is in: there may be a million. */
interface Held extends ActualInstance {
  droplet: string;
  routable: boolean;
  /** The full beat that named it last. */
  beat: number;
}

interface Dea {
  id: string;
  seenAt: number;
  /** Which list is held; undefined until one was heard, which was first missed at `unknownSince`. */
  mark: BeatMark | undefined;
  unknownSince: number;
  instances: Held[];
}

export interface Changes {
  /** Processes of which something changed. */
  droplets: Set<string>;
  /** Indices that are gone for good, not merely on their way: their DEA is. */
  lost: { droplet: string; version: string; index: number }[];
}

const NOTHING = { held: [], gone: [] };

/** Takes it out of the list, the order of which is nobody's concern. */
function leave(dea: Dea, held: Held): void {
  const at = dea.instances.indexOf(held);
  const last = at < 0 ? undefined : dea.instances.pop();
  if (last !== undefined && last !== held) dea.instances[at] = last;
}

/**
 * What runs, as the DEAs tell it: one list per DEA, replaced by each full beat, changed by those that tell what changed, kept
 * alive by all. Times are ms of a monotonic clock.
 */
export class ActualState {
  readonly #deas = new Map<string, Dea>();
  readonly #instances = new Map<string, Held>();
  readonly #byDroplet = new Map<string, Held[]>();
  readonly #silence_ms: number;
  readonly #unknown = new Set<Dea>();
  readonly #doubtful = new Set<string>();
  #learnedAt = -Infinity;
  #flowSince: number | undefined;
  #lastBeatAt = -Infinity;
  #beats = 0;

  constructor(options: { silence_ms: number }) {
    this.#silence_ms = options.silence_ms;
  }

  /**
   * Whether it may be acted on: beats have come for as long as a DEA may be silent, so that each one alive has been heard,
   * they still come, and no DEA that beats has still to say what it holds. For one that never says it is not waited for ever.
   */
  isFresh(now: number): boolean {
    return (
      this.#flowSince !== undefined &&
      now - this.#flowSince >= this.#silence_ms &&
      now - this.#lastBeatAt < this.#silence_ms &&
      !this.#isWaitingForLists(now)
    );
  }

  /** The bus was away: what was silent meanwhile is not to blame, and freshness begins anew. */
  interrupt(now: number): void {
    this.#flowSince = undefined;
    for (const dea of this.#deas.values()) dea.seenAt = now;
  }

  /** We were not there to listen for `ms`: nobody's silence counts for as long. */
  excuse(ms: number): void {
    for (const dea of this.#deas.values()) dea.seenAt += ms;
    this.#lastBeatAt += ms;
    if (this.#flowSince !== undefined) this.#flowSince += ms;
  }

  /** Takes a beat. `unknown: true` asks for a full one, since the list held is not the one that the DEA goes on from. */
  beat(beat: DeaHeartbeat, now: number): Changes & { unknown: boolean } {
    if (this.#flowSince === undefined || now - this.#lastBeatAt >= this.#silence_ms) this.#flowSince = now;
    this.#lastBeatAt = now;
    const changes: Changes = { droplets: new Set(), lost: [] };
    const dea = this.#deaOf(beat.dea, now);
    dea.seenAt = now;
    const place = placeBeat(dea.mark, beat);
    switch (place) {
      case 'unknown':
        this.#doubtful.add(dea.id);
        return { ...changes, unknown: true };
      case 'old':
        return { ...changes, unknown: false };
      case 'same':
        break;
      case 'next':
        this.#change(dea, beat.changes ?? NOTHING, { now, changes });
        break;
      case 'full':
        this.#replace(dea, beat.droplets ?? [], { now, changes });
        break;
      default:
        place satisfies never;
    }
    this.#doubtful.delete(dea.id);
    dea.mark = { run: beat.run, seq: beat.seq, digest: beat.digest };
    return { ...changes, unknown: false };
  }

  /** An instance is gone, whatever the reason. */
  exited(exit: DropletExited): Changes {
    const changes: Changes = { droplets: new Set([exit.droplet]), lost: [] };
    const held = this.#instances.get(exit.instance);
    const dea = this.#deas.get(exit.dea);
    if (held && dea) leave(dea, held);
    if (held) this.#remove(held, changes);
    if (exit.reason === 'DEA_EVACUATION' || exit.reason === 'DEA_SHUTDOWN') {
      changes.lost.push({ droplet: exit.droplet, version: exit.version, index: exit.index });
    }
    return changes;
  }

  /** Forgets DEAs that were silent too long, and with them all that they held. */
  expire(now: number): Changes & { deas: string[] } {
    const changes: Changes & { deas: string[] } = { droplets: new Set(), lost: [], deas: [] };
    for (const [id, dea] of this.#deas) {
      if (now - dea.seenAt < this.#silence_ms) continue;
      this.#deas.delete(id);
      this.#unknown.delete(dea);
      this.#doubtful.delete(id);
      changes.deas.push(id);
      for (const held of dea.instances) {
        // Another DEA may have said since that it holds it.
        if (held.dea !== id) continue;
        this.#remove(held, changes);
        changes.lost.push({ droplet: held.droplet, version: held.version, index: held.index });
      }
    }
    return changes;
  }

  /** Not a copy: it changes with the next message. */
  instancesOf(droplet: string): readonly ActualInstance[] {
    return this.#byDroplet.get(droplet) ?? [];
  }

  droplets(): IterableIterator<string> {
    return this.#byDroplet.keys();
  }

  /** DEAs that hold something else than what is held of them, which they have been asked for. */
  get doubtful(): ReadonlySet<string> {
    return this.#doubtful;
  }

  get deaCount(): number {
    return this.#deas.size;
  }

  #isWaitingForLists(now: number): boolean {
    for (const dea of this.#unknown) {
      const isThere = now - dea.seenAt < this.#silence_ms;
      if (isThere && now - Math.max(dea.unknownSince, this.#learnedAt) < 2 * this.#silence_ms) return true;
    }
    return false;
  }

  #deaOf(id: string, now: number): Dea {
    const known = this.#deas.get(id);
    if (known) return known;
    const dea: Dea = { id, seenAt: now, mark: undefined, unknownSince: now, instances: [] };
    this.#deas.set(id, dea);
    this.#unknown.add(dea);
    return dea;
  }

  #replace(dea: Dea, list: readonly HeartbeatInstance[], { now, changes }: { now: number; changes: Changes }): void {
    this.#beats += 1;
    const instances = list.map((held) => this.#put(dea, held, now, changes));
    const gone = dea.instances.filter((held) => held.beat !== this.#beats && held.dea === dea.id);
    dea.instances = instances;
    for (const held of gone) this.#remove(held, changes);
    if (this.#unknown.delete(dea)) this.#learnedAt = now;
  }

  #change(
    dea: Dea,
    said: NonNullable<DeaHeartbeat['changes']>,
    { now, changes }: { now: number; changes: Changes },
  ): void {
    for (const one of said.held) {
      const isListed = this.#instances.get(one.instance)?.dea === dea.id;
      const held = this.#put(dea, one, now, changes);
      if (!isListed) dea.instances.push(held);
    }
    for (const instance of said.gone) {
      const held = this.#instances.get(instance);
      // Its exit may have been heard already, or another DEA have taken it over.
      if (held?.dea !== dea.id) continue;
      leave(dea, held);
      this.#remove(held, changes);
    }
  }

  #put(dea: Dea, said: HeartbeatInstance, now: number, changes: Changes): Held {
    const known = this.#instances.get(said.instance);
    if (known) {
      known.beat = this.#beats;
      known.routable = said.routable;
      if (known.state === said.state && known.version === said.version && known.dea === dea.id) return known;
      known.state = said.state;
      known.version = said.version;
      known.dea = dea.id;
      known.since = now;
      changes.droplets.add(known.droplet);
      return known;
    }
    const siblings = this.#byDroplet.get(said.droplet);
    // Each message brings texts of its own: the same ones are kept once.
    const [sibling] = siblings ?? [];
    const held: Held = {
      instance: said.instance,
      droplet: sibling?.droplet ?? said.droplet,
      version: sibling?.version === said.version ? sibling.version : said.version,
      dea: dea.id,
      index: said.index,
      state: said.state,
      since: now,
      routable: said.routable,
      beat: this.#beats,
    };
    this.#instances.set(held.instance, held);
    if (siblings) siblings.push(held);
    else this.#byDroplet.set(held.droplet, [held]);
    changes.droplets.add(held.droplet);
    return held;
  }

  #remove(held: Held, changes: Changes): void {
    if (this.#instances.get(held.instance) !== held) return;
    this.#instances.delete(held.instance);
    const siblings = this.#byDroplet.get(held.droplet) ?? [];
    siblings.splice(siblings.indexOf(held), 1);
    if (siblings.length === 0) this.#byDroplet.delete(held.droplet);
    changes.droplets.add(held.droplet);
  }
}
