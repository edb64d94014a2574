import { type Envelope, envelopes } from '#contracts/loggregator.ts';
import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';

const FLUSH_MS = 100;
const RECONNECT_GRACE_MS = 1000;
/** Base64 and JSON make some more of it: both stay below the bus's limit of 1 MB a message. */
const FLUSH_BYTES = 64 * 1024;
const MAX_HELD_BYTES = 16 * 1024 * 1024;
/** What an envelope weighs besides its text. */
const ENVELOPE_BYTES = 400;

/** Whose output it is: `source_id` keys it, the rest are its tags. */
export interface LogSource {
  source_id: string;
  instance_id: string;
  source_type: string;
  tags: Readonly<Record<string, string>>;
}

interface Batch {
  envelopes: Envelope[];
  bytes: number;
  dropped: number;
  source: LogSource;
}

/**
 * Brings lines and measurements to the loggregator, in batches per app. While the bus is away it holds what fits, then drops
 * the newest, counts it, and says so in the app's own log afterwards.
 */
export class LogEmitter implements AsyncDisposable {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #tags: Readonly<Record<string, string>>;
  readonly #batches = new Map<string, Batch>();
  readonly #timer: Disposable;
  readonly #reconnect: Disposable;
  #heardFrom_ms = 0;
  #held_bytes = 0;
  #lines = 0;

  /** `tags` go with every envelope. */
  constructor(options: { bus: Bus; clock: Clock; tags: Readonly<Record<string, string>> }) {
    this.#bus = options.bus;
    this.#clock = options.clock;
    this.#tags = options.tags;
    this.#timer = options.clock.every(FLUSH_MS, () => this.flush());
    this.#reconnect = options.bus.onReconnect(() => {
      this.#heardFrom_ms = options.clock.monotonic() + RECONNECT_GRACE_MS;
    });
  }

  /** Lines taken since the start. */
  get lines(): number {
    return this.#lines;
  }

  log(source: LogSource, type: 'OUT' | 'ERR', line: string | Buffer, timestamp_ns?: string): void {
    const payload = Buffer.from(line).toString('base64');
    this.#lines++;
    this.#add(source, { ...this.#envelope(source, timestamp_ns), log: { payload, type } }, payload.length);
  }

  /** One value each of metrics that go up and down. */
  gauge(source: LogSource, metrics: Record<string, { unit: string; value: number }>): void {
    this.#add(source, { ...this.#envelope(source), gauge: { metrics } }, 0);
  }

  flush(): void {
    for (const source_id of this.#batches.keys()) this.#send(source_id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer[Symbol.dispose]();
    this.#reconnect[Symbol.dispose]();
    this.flush();
    await this.#bus.flush();
  }

  /** Shortly after the bus is back its other users are not: what is sent then finds no loggregator. */
  get #isHeard(): boolean {
    return this.#bus.isConnected && this.#clock.monotonic() >= this.#heardFrom_ms;
  }

  #envelope(source: LogSource, timestamp_ns = `${this.#clock.now()}000000`): Envelope {
    const { source_id, instance_id, source_type, tags } = source;
    return {
      timestamp: timestamp_ns,
      source_id,
      instance_id,
      tags: { ...this.#tags, ...tags, source_type, instance_id },
    };
  }

  #add(source: LogSource, envelope: Envelope, payload_bytes: number): void {
    const bytes = payload_bytes + ENVELOPE_BYTES;
    let batch = this.#batches.get(source.source_id);
    if (!batch) {
      batch = { envelopes: [], bytes: 0, dropped: 0, source };
      this.#batches.set(source.source_id, batch);
    }
    if (this.#held_bytes + bytes > MAX_HELD_BYTES) {
      batch.dropped++;
      return;
    }
    batch.envelopes.push(envelope);
    batch.bytes += bytes;
    this.#held_bytes += bytes;
    if (batch.bytes >= FLUSH_BYTES) this.#send(source.source_id);
  }

  #send(source_id: string): void {
    const batch = this.#batches.get(source_id);
    if (!batch || !this.#isHeard) return;
    this.#batches.delete(source_id);
    this.#held_bytes -= batch.bytes;
    if (batch.dropped > 0) {
      const text = `${batch.dropped} log messages were dropped while the message bus was away`;
      const payload = Buffer.from(text).toString('base64');
      batch.envelopes.push({
        ...this.#envelope({ ...batch.source, source_type: 'CELL' }),
        log: { payload, type: 'ERR' },
      });
    }
    // What gathered while the bus was away may be more than one message can carry.
    let start = 0;
    let bytes = 0;
    for (const [index, envelope] of batch.envelopes.entries()) {
      bytes += ENVELOPE_BYTES + (envelope.log?.payload.length ?? 0);
      if (bytes < FLUSH_BYTES && index < batch.envelopes.length - 1) continue;
      this.#bus.publish(envelopes(source_id), { batch: batch.envelopes.slice(start, index + 1) });
      start = index + 1;
      bytes = 0;
    }
  }
}
