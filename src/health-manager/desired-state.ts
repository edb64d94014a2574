import type { DesiredProcess } from '#contracts/cloud-controller.ts';

/**
 * What ought to run, as the cloud controller's database has it: read whole now and then, and corrected by hints in between.
 */
export class DesiredState {
  #processes = new Map<string, DesiredProcess>();
  /** Hints that came after a reading began are newer than what it brings. */
  readonly #hintedAt = new Map<string, DesiredProcess>();
  #fetchedAt: number | undefined;
  readonly #ttl_ms: number;

  constructor(options: { ttl_ms: number }) {
    this.#ttl_ms = options.ttl_ms;
  }

  isFresh(now: number): boolean {
    return this.#fetchedAt !== undefined && now - this.#fetchedAt < this.#ttl_ms;
  }

  get(droplet: string): DesiredProcess | undefined {
    return this.#processes.get(droplet);
  }

  droplets(): IterableIterator<string> {
    return this.#processes.keys();
  }

  get size(): number {
    return this.#processes.size;
  }

  /** A reading begins: hints from here on are kept over what it brings. */
  beginReading(): void {
    this.#hintedAt.clear();
  }

  hint(process: DesiredProcess): void {
    this.#hintedAt.set(process.droplet, process);
    this.#set(this.#processes, process);
  }

  /** Takes a whole reading; returns the processes of which something changed. */
  replace(processes: readonly DesiredProcess[], times: { askedAt: number; now: number }): Set<string> {
    const next = new Map<string, DesiredProcess>();
    for (const process of processes) next.set(process.droplet, this.same(process));
    for (const hinted of this.#hintedAt.values()) this.#set(next, hinted);
    const changed = new Set<string>();
    for (const droplet of this.#processes.keys()) if (!next.has(droplet)) changed.add(droplet);
    for (const [droplet, process] of next) {
      const old = this.#processes.get(droplet);
      if (old !== process) changed.add(droplet);
    }
    this.#processes = next;
    this.#fetchedAt = times.askedAt;
    return changed;
  }

  /** What is held already when it says the same, so that a reading of what did not change leaves nothing behind. */
  same(process: DesiredProcess): DesiredProcess {
    const known = this.#processes.get(process.droplet);
    return known && isSame(known, process) ? known : process;
  }

  #set(map: Map<string, DesiredProcess>, process: DesiredProcess): void {
    if (process.instances === 0 && process.state === 'STOPPED') map.delete(process.droplet);
    else map.set(process.droplet, this.same(process));
  }
}

function isSame(one: DesiredProcess, other: DesiredProcess): boolean {
  return (
    one.version === other.version &&
    one.instances === other.instances &&
    one.state === other.state &&
    one.package_state === other.package_state
  );
}
