import { beatDigest } from '#contracts/beat-digest.ts';
import type { DeaHeartbeat, DropletExited, HeartbeatInstance } from '#contracts/dea.ts';
import type { ActualInstance } from './plan.ts';

/** What is read of a beat. */
export type Beat = Pick<DeaHeartbeat, 'dea' | 'digest' | 'droplets'>;

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
  /** Undefined until its list was heard, which it was first missed at `unknownSince`. */
  digest: string | undefined;
  unknownSince: number;
  instances: Held[];
}

export interface Changes {
  /** Processes of which something changed. */
  droplets: Set<string>;
  /** Indices that are gone for good, not merely on their way: their DEA is. */
  lost: { droplet: string; version: string; index: number }[];
}

/**
 * What runs, as the DEAs tell it: one list per DEA, replaced by each full beat, kept alive by each short one. Times are ms of a
 * monotonic clock.
 */
export class ActualState {
  readonly #deas = new Map<string, Dea>();
  readonly #instances = new Map<string, Held>();
  readonly #byDroplet = new Map<string, Held[]>();
  readonly #silence_ms: number;
  readonly #unknown = new Set<Dea>();
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

  /** Takes a beat. `unknown: true` asks for a full one, since the digest is not that of the list held. */
  beat(beat: Beat, now: number): Changes & { unknown: boolean } {
    if (this.#flowSince === undefined || now - this.#lastBeatAt >= this.#silence_ms) this.#flowSince = now;
    this.#lastBeatAt = now;
    const changes: Changes = { droplets: new Set(), lost: [] };
    const dea = this.#deaOf(beat.dea, now);
    dea.seenAt = now;
    if (!beat.droplets) return { ...changes, unknown: dea.digest !== beat.digest };
    this.#beats += 1;
    const instances = beat.droplets.map((held) => this.#put(dea, held, now, changes));
    const gone = dea.instances.filter((held) => held.beat !== this.#beats && held.dea === dea.id);
    dea.instances = instances;
    for (const held of gone) this.#remove(held, changes);
    dea.digest = beat.digest;
    if (this.#unknown.delete(dea)) this.#learnedAt = now;
    return { ...changes, unknown: false };
  }

  /** An instance is gone, whatever the reason. */
  exited(exit: DropletExited): Changes {
    const changes: Changes = { droplets: new Set([exit.droplet]), lost: [] };
    const held = this.#instances.get(exit.instance);
    const dea = this.#deas.get(exit.dea);
    if (held && dea?.instances.includes(held) === true) {
      dea.instances = dea.instances.filter((other) => other !== held);
      dea.digest = beatDigest(dea.instances);
    }
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
    const dea: Dea = { id, seenAt: now, digest: undefined, unknownSince: now, instances: [] };
    this.#deas.set(id, dea);
    this.#unknown.add(dea);
    return dea;
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
