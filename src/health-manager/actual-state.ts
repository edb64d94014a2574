import { beatDigest } from '#contracts/beat-digest.ts';
import type { DeaHeartbeat, DropletExited, HeartbeatInstance } from '#contracts/dea.ts';
import type { ActualInstance } from './plan.ts';

interface Dea {
  seenAt: number;
  digest: string;
  instances: Map<string, HeartbeatInstance>;
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
  readonly #byDroplet = new Map<string, Map<string, ActualInstance>>();
  readonly #silence_ms: number;
  #flowSince: number | undefined;
  #lastBeatAt = -Infinity;

  constructor(options: { silence_ms: number }) {
    this.#silence_ms = options.silence_ms;
  }

  /**
   * Whether it may be acted on: beats have come for as long as a DEA may be silent, so that each one alive has been heard,
   * and they still come.
   */
  isFresh(now: number): boolean {
    return (
      this.#flowSince !== undefined &&
      now - this.#flowSince >= this.#silence_ms &&
      now - this.#lastBeatAt < this.#silence_ms
    );
  }

  /** The bus was away: what was silent meanwhile is not to blame, and freshness begins anew. */
  interrupt(now: number): void {
    this.#flowSince = undefined;
    for (const dea of this.#deas.values()) dea.seenAt = now;
  }

  /** Takes a beat. `unknown: true` asks for a full one, since the digest is not that of the list held. */
  beat(beat: DeaHeartbeat, now: number): Changes & { unknown: boolean } {
    if (this.#flowSince === undefined || now - this.#lastBeatAt >= this.#silence_ms) this.#flowSince = now;
    this.#lastBeatAt = now;
    const changes: Changes = { droplets: new Set(), lost: [] };
    const known = this.#deas.get(beat.dea);
    if (known) known.seenAt = now;
    if (!beat.droplets) return { ...changes, unknown: known?.digest !== beat.digest };
    const instances = new Map(beat.droplets.map((held) => [held.instance, held]));
    for (const old of known?.instances.values() ?? []) {
      if (!instances.has(old.instance)) this.#remove(old.droplet, old.instance, changes);
    }
    for (const held of instances.values()) this.#put(beat.dea, held, now, changes);
    this.#deas.set(beat.dea, { seenAt: now, digest: beat.digest, instances });
    return { ...changes, unknown: false };
  }

  /** An instance is gone, whatever the reason. */
  exited(exit: DropletExited): Changes {
    const changes: Changes = { droplets: new Set([exit.droplet]), lost: [] };
    const dea = this.#deas.get(exit.dea);
    if (dea?.instances.delete(exit.instance) === true) dea.digest = beatDigest([...dea.instances.values()]);
    this.#remove(exit.droplet, exit.instance, changes);
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
      changes.deas.push(id);
      for (const held of dea.instances.values()) {
        this.#remove(held.droplet, held.instance, changes);
        changes.lost.push({ droplet: held.droplet, version: held.version, index: held.index });
      }
    }
    return changes;
  }

  instancesOf(droplet: string): ActualInstance[] {
    return [...(this.#byDroplet.get(droplet)?.values() ?? [])];
  }

  droplets(): IterableIterator<string> {
    return this.#byDroplet.keys();
  }

  get deaCount(): number {
    return this.#deas.size;
  }

  #put(dea: string, held: HeartbeatInstance, now: number, changes: Changes): void {
    const list = this.#byDroplet.get(held.droplet) ?? new Map<string, ActualInstance>();
    const known = list.get(held.instance);
    if (known?.state === held.state && known.version === held.version && known.dea === dea) return;
    const { instance, version, index, state } = held;
    list.set(instance, { instance, dea, version, index, state, since: now });
    this.#byDroplet.set(held.droplet, list);
    changes.droplets.add(held.droplet);
  }

  #remove(droplet: string, instance: string, changes: Changes): void {
    const list = this.#byDroplet.get(droplet);
    if (list?.delete(instance) !== true) return;
    if (list.size === 0) this.#byDroplet.delete(droplet);
    changes.droplets.add(droplet);
  }
}
