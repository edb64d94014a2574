/** So many DEAs are asked at once: with all of a thousand answering together the bus would cut us off as too slow. */
const AT_ONCE = 50;
/** One that did not answer for so long gives its turn to the next. */
const PATIENCE_MS = 2_000;

/** Which DEAs to ask for their whole lists now, and which when others have answered: the manners of all who hear beats. */
export class BeatRequests {
  readonly #ask: (dea: string) => void;
  readonly #asked = new Map<string, number>();
  readonly #waiting = new Set<string>();

  constructor(options: { ask: (dea: string) => void }) {
    this.#ask = options.ask;
  }

  /** Its list is not known. */
  want(dea: string, now: number): void {
    if (!this.#asked.has(dea)) this.#waiting.add(dea);
    this.#pump(now);
  }

  /** Its list is here. */
  heard(dea: string, now: number): void {
    const wasAsked = this.#asked.delete(dea);
    const wasWaiting = this.#waiting.delete(dea);
    if (wasAsked || wasWaiting) this.#pump(now);
  }

  #pump(now: number): void {
    for (const [dea, at] of this.#asked) if (now - at >= PATIENCE_MS) this.#asked.delete(dea);
    for (const dea of this.#waiting) {
      if (this.#asked.size >= AT_ONCE) return;
      this.#waiting.delete(dea);
      this.#asked.set(dea, now);
      this.#ask(dea);
    }
  }
}
