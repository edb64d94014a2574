/** Ten levels and full: finer than that nobody can tell. */
const LEVELS = 11;

/** Processes whose starts wait for a later round, the most urgent first, and among those the longest waiting. */
export class Backlog {
  readonly #levels = Array.from({ length: LEVELS }, () => new Set<string>());
  #size = 0;

  /** `urgency` is in [0, 1]. */
  add(droplet: string, urgency: number): void {
    const level = this.#levels[Math.floor(urgency * (LEVELS - 1))];
    if (!level || level.has(droplet)) return;
    level.add(droplet);
    this.#size += 1;
  }

  has(droplet: string): boolean {
    return this.#size > 0 && this.#levels.some((level) => level.has(droplet));
  }

  delete(droplet: string): void {
    if (this.#size === 0) return;
    for (const level of this.#levels) if (level.delete(droplet)) this.#size -= 1;
  }

  clear(): void {
    for (const level of this.#levels) level.clear();
    this.#size = 0;
  }

  first(): { droplet: string; urgency: number } | undefined {
    if (this.#size === 0) return undefined;
    for (let level = LEVELS - 1; level >= 0; level--) {
      for (const droplet of this.#levels[level] ?? []) return { droplet, urgency: level / (LEVELS - 1) };
    }
    return undefined;
  }
}
