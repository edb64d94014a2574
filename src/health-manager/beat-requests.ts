export interface BeatRequestsOptions {
  /** So many DEAs are asked at once: with all of a thousand answering together the bus would cut us off as too slow. */
  at_once: number;
  /** One that did not answer for so long gives its turn to the next. */
  patience_ms: number;
  ask: (dea: string) => void;
}

/** Which DEAs to ask for full beats now, and which when others have answered. */
export class BeatRequests {
  readonly #options: BeatRequestsOptions;
  readonly #asked = new Map<string, number>();
  readonly #waiting = new Set<string>();

  constructor(options: BeatRequestsOptions) {
    this.#options = options;
  }

  want(dea: string, now: number): void {
    if (!this.#asked.has(dea)) this.#waiting.add(dea);
    this.#pump(now);
  }

  /** Its full beat is here. */
  heard(dea: string, now: number): void {
    const wasAsked = this.#asked.delete(dea);
    const wasWaiting = this.#waiting.delete(dea);
    if (wasAsked || wasWaiting) this.#pump(now);
  }

  #pump(now: number): void {
    const { at_once, patience_ms, ask } = this.#options;
    for (const [dea, at] of this.#asked) if (now - at >= patience_ms) this.#asked.delete(dea);
    for (const dea of this.#waiting) {
      if (this.#asked.size >= at_once) return;
      this.#waiting.delete(dea);
      this.#asked.set(dea, now);
      ask(dea);
    }
  }
}
