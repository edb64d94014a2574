/**
 * How many bytes of output an instance may say in a second. What is above is dropped, and the app's log says so once in each
 * second that it happens.
 */
export class LogRateLimit {
  readonly #bytes_per_s: number;
  #second = -1;
  #used = 0;
  #isTold = false;
  #total = 0;

  /** `bytes_per_s` -1 for no limit. */
  constructor(bytes_per_s: number) {
    this.#bytes_per_s = bytes_per_s;
  }

  /** Bytes offered since the start, dropped ones as well. */
  get total(): number {
    return this.#total;
  }

  take(bytes: number, monotonic_ms: number): 'pass' | 'drop' | 'drop and tell' {
    this.#total += bytes;
    if (this.#bytes_per_s < 0) return 'pass';
    const second = Math.floor(monotonic_ms / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#used = 0;
      this.#isTold = false;
    }
    if (this.#used + bytes <= this.#bytes_per_s) {
      this.#used += bytes;
      return 'pass';
    }
    if (this.#isTold) return 'drop';
    this.#isTold = true;
    return 'drop and tell';
  }
}
