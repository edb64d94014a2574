import type { Clock } from './clock.ts';

export interface RetryOptions {
  clock: Clock;
  /** Tries in all, the first included. */
  attempts: number;
  /** Wait before try n+1 in ms: first × 2^n, never above `max_delay_ms`, each shortened at random by up to a half. */
  first_delay_ms: number;
  max_delay_ms: number;
  signal?: AbortSignal;
  /** Whether another try can help; by default every error is worth one. */
  isWorthRetrying?: (error: unknown) => boolean;
}

/** Runs `work` until it succeeds or the tries are used up, then throws the last error. */
export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt);
    } catch (error) {
      const isWorth = options.isWorthRetrying?.(error) ?? true;
      if (!isWorth || attempt >= options.attempts || options.signal?.aborted) throw error;
      const ceiling = Math.min(options.max_delay_ms, options.first_delay_ms * 2 ** (attempt - 1));
      await options.clock.sleep(ceiling * (0.5 + Math.random() / 2), options.signal);
    }
  }
}
