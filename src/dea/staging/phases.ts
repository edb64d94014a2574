import type { Clock } from '#kernel/clock.ts';

/** Names as the user reads them when one of them takes too long. */
export type Phase =
  | 'creating the container'
  | 'looking up the image'
  | 'downloading buildpacks'
  | 'downloading the app package'
  | 'running the buildpacks'
  | 'packing the droplet'
  | 'uploading the droplet';

/** Which phase a build is in, and how long each took, for its log and for the message when time is up. */
export class Phases {
  readonly #clock: Clock;
  readonly #started_ms: number;
  readonly #durations = new Map<Phase, number>();
  readonly #open: Phase[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#started_ms = clock.monotonic();
  }

  /** The one that is under way; of several at once the one that began last. */
  get current(): Phase {
    return this.#open.at(-1) ?? 'creating the container';
  }

  async during<T>(phase: Phase, work: () => Promise<T>): Promise<T> {
    const from_ms = this.#clock.monotonic();
    this.#open.push(phase);
    // What fails stays the current phase: the failure is about it.
    const result = await work();
    this.#open.splice(this.#open.lastIndexOf(phase), 1);
    this.#durations.set(phase, (this.#durations.get(phase) ?? 0) + this.#clock.monotonic() - from_ms);
    return result;
  }

  /** `12.3s in all: creating the container 0.1s, …` */
  summary(): string {
    const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)}s`;
    const parts = [...this.#durations].map(([phase, ms]) => `${phase} ${seconds(ms)}`);
    return `${seconds(this.#clock.monotonic() - this.#started_ms)} in all: ${parts.join(', ')}`;
  }
}
