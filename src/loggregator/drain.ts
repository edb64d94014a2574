import type { BlockList } from 'node:net';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Entry } from './chunk.ts';
import { connectDrain, type DrainConnection, DrainInvalid } from './drain-connection.ts';
import type { DrainTarget } from './drain-list.ts';
import { formatSyslog } from './syslog-format.ts';

export interface DrainOptions {
  target: DrainTarget;
  clock: Clock;
  log: Log;
  blocked: BlockList;
  /** What waits for a slow drain; beyond it messages are dropped and counted. */
  buffer_bytes: number;
  timeout_ms: number;
  first_retry_ms: number;
  max_retry_ms: number;
}

/** How long a drain that is no more wanted may take for what it was told before. */
const LAST_WORDS_MS = 1_000;

/**
 * One app's drain: a bounded buffer, and one worker that connects, hands over, and connects again for as long as it takes. What was
 * not certainly handed over when a connection broke is sent again, so a message may come twice, and rather that than not at all.
 */
export class Drain implements AsyncDisposable {
  readonly target: DrainTarget;
  readonly #options: DrainOptions;
  readonly #stop = new AbortController();
  readonly #worker: Promise<void>;
  #connection: DrainConnection | undefined;
  readonly #queue: Buffer[] = [];
  #bytes = 0;
  #dropped = 0;
  #sent = 0;
  #wake: (() => void) | undefined;
  /** Undefined while it works. */
  #fault: string | undefined;

  constructor(options: DrainOptions) {
    this.target = options.target;
    this.#options = options;
    this.#worker = this.#work();
  }

  get sent(): number {
    return this.#sent;
  }

  write(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const message = formatSyslog(entry, this.target);
      if (!message) continue;
      if (this.#bytes + message.length > this.#options.buffer_bytes) {
        // Word of a loss is itself no loss: counted, a dead drain would never fall silent.
        if (entry.origin.tags['source_type'] !== 'LGR') this.#dropped += 1;
        continue;
      }
      this.#queue.push(message);
      this.#bytes += message.length;
    }
    this.#wake?.();
  }

  /** How many were dropped since the last time this was asked, and why. */
  takeLoss(): { count: number; why: string } {
    const count = this.#dropped;
    this.#dropped = 0;
    return { count, why: this.#fault ?? 'it is too slow' };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    const timer = setTimeout(() => this.#connection?.abort(), LAST_WORDS_MS);
    await this.#worker;
    clearTimeout(timer);
  }

  async #work(): Promise<void> {
    const { clock, log, first_retry_ms, max_retry_ms } = this.#options;
    const facts = { app_id: this.target.app_id, drain: hostOf(this.target.url) };
    let pause_ms = first_retry_ms;
    while (!this.#stop.signal.aborted) {
      if (this.#queue.length === 0) await this.#more();
      if (this.#stop.signal.aborted) return;
      try {
        using connection = await connectDrain(this.#options);
        this.#connection = connection;
        if (this.#fault !== undefined) log.info(facts, 'drain reached again');
        this.#fault = undefined;
        pause_ms = first_retry_ms;
        await this.#pump(connection);
      } catch (error) {
        if (this.#fault === undefined) log.warn({ ...facts, error: describeError(error) }, 'drain not reached');
        this.#fault = error instanceof DrainInvalid ? error.message : 'it is not reachable';
        await clock.sleep(pause_ms * (0.5 + Math.random() / 2), this.#stop.signal).catch(() => {});
        pause_ms = Math.min(max_retry_ms, pause_ms * 2);
      }
    }
  }

  async #pump(connection: DrainConnection): Promise<void> {
    for (;;) {
      if (this.#queue.length === 0) {
        if (this.#stop.signal.aborted) return;
        await this.#more();
        continue;
      }
      const batch = this.#nextBatch(connection.batch_bytes);
      await connection.send(batch);
      this.#queue.splice(0, batch.length);
      for (const message of batch) this.#bytes -= message.length;
      this.#sent += batch.length;
    }
  }

  #nextBatch(limit_bytes: number): Buffer[] {
    const batch: Buffer[] = [];
    let bytes = 0;
    for (const message of this.#queue) {
      if (bytes >= limit_bytes) break;
      batch.push(message);
      bytes += message.length;
    }
    return batch;
  }

  async #more(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (this.#queue.length > 0 || this.#stop.signal.aborted) resolve();
    });
    this.#wake = undefined;
  }
}

/** The drain's host: its path and user may be secrets. */
export function hostOf(url: string): string {
  return URL.parse(url)?.host ?? 'an invalid URL';
}
