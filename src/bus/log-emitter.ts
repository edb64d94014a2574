import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import { forRequest } from '#kernel/request-scope.ts';
import { envelopes, type Envelope, type EnvelopeBatch, MAX_LOG_LINE_BYTES } from '#contracts/loggregator.ts';

/** Where envelopes go: a `Bus`, or anything that says whether it took a batch. */
export interface EnvelopePublisher {
  readonly isConnected: boolean;
  publish(topic: ReturnType<typeof envelopes>, message: z.input<typeof EnvelopeBatch>): boolean;
  flush?(): Promise<void>;
  onReconnect?(listener: () => void): Disposable;
}

export interface LogEmitterOptions {
  publisher: EnvelopePublisher;
  /** Tags of every envelope from here, such as `deployment`, `job`, `index`, `ip`, `origin`. */
  tags?: Readonly<Record<string, string>>;
  /** Longest time that an envelope waits for others. */
  batch_interval_ms?: number;
  /** Size on the wire at which a batch goes at once. */
  batch_bytes?: number;
  /** What is kept for each source, and in all, while the bus is away. Beyond it envelopes are counted as dropped. */
  buffer_bytes_per_source?: number;
  buffer_bytes?: number;
  /** The wall clock in ms. */
  now_ms?: () => number;
}

export interface EnvelopeOrigin {
  /** The app's guid, or a component's name. */
  source_id: string;
  /** The instance's index. */
  instance_id: string;
  /** What the cf CLI prints in brackets: `APP/PROC/WEB`, `APP/TASK/<name>`, `STG`, `API`, `RTR`, `CELL`, `SSH`, `HEALTH`. */
  source_type: string;
  tags?: Readonly<Record<string, string>>;
}

export interface LogLines extends EnvelopeOrigin {
  /** One line or several; each becomes an envelope. Newlines at ends and empty lines are left out. */
  payload: string | Buffer;
  type: 'OUT' | 'ERR';
  /** When it was written, if that is known better than by its coming here; see LogEmitter on its limits. */
  timestamp_ns?: string;
}

/** Everything of an envelope beside whence and when. */
export type Measurement = Omit<Envelope, 'timestamp' | 'source_id' | 'instance_id' | 'tags' | 'log'>;

/** Takes a stream's chunks as they come and emits whole lines; what has no newline yet is held until it has, or until `end`. */
export interface LogLineSink {
  write(chunk: Buffer): void;
  end(): void;
}

interface Pending {
  queue: { envelope: Envelope; size: number }[];
  bytes: number;
  dropped: number;
  last: EnvelopeOrigin;
}

/** An envelope's JSON without its payload and tags, measured generously. */
const ENVELOPE_OVERHEAD_BYTES = 200;
const MAX_COUNTED_SOURCES = 20_000;
const RECONNECT_GRACE_MS = 1000;
const NS_PER_MS = 1_000_000;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * Sends envelopes to the loggregators, in batches per source. It never blocks and never throws: while the bus is away it keeps
 * what fits, counts the rest, and says afterwards in the stream itself how many are missing. Timestamps are in ns and no two
 * from one emitter are equal, nor is one below an earlier one, since readers page by `last timestamp + 1`: a line that was written
 * before the last one was taken gets the next stamp after it.
 */
export class LogEmitter implements AsyncDisposable {
  readonly #publisher: EnvelopePublisher;
  readonly #tags: Readonly<Record<string, string>>;
  readonly #limits: { interval_ms: number; batch: number; source: number; all: number };
  readonly #now_ms: () => number;
  readonly #pending = new Map<string, Pending>();
  /** Envelopes sent of each source, by which the other side sees what got lost on the way. */
  readonly #sent = new Map<string, number>();
  readonly #id = randomUUID();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #isDisposed = false;
  #last_ms = 0;
  #withinMs = 0;
  #dropped = 0;
  #lines = 0;
  #heardFrom_ms = 0;
  readonly #reconnect: Disposable | undefined;

  constructor(options: LogEmitterOptions) {
    this.#publisher = options.publisher;
    this.#tags = options.tags ?? {};
    this.#now_ms = options.now_ms ?? Date.now;
    this.#limits = {
      interval_ms: options.batch_interval_ms ?? 100,
      batch: options.batch_bytes ?? 64 * 1024,
      source: options.buffer_bytes_per_source ?? 1024 * 1024,
      all: options.buffer_bytes ?? 16 * 1024 * 1024,
    };
    // Shortly after the bus is back its other users are not: what is sent at once finds no loggregator.
    this.#reconnect = options.publisher.onReconnect?.(() => {
      this.#heardFrom_ms = performance.now() + RECONNECT_GRACE_MS;
    });
  }

  /** Lines taken since the start, for `/metrics`. */
  get linesTotal(): number {
    return this.#lines;
  }

  /** Envelopes dropped since the start, for `/metrics`. */
  get droppedTotal(): number {
    return this.#dropped;
  }

  /** Envelopes' bytes that wait to be sent. */
  get bufferedBytes(): number {
    return this.#bytes;
  }

  emit(lines: LogLines): void {
    const bytes = typeof lines.payload === 'string' ? Buffer.from(lines.payload) : lines.payload;
    for (const line of linesOf(bytes)) this.#emitLine(lines, line);
  }

  /** A counter, gauge, timer or event. */
  emitMeasurement(origin: EnvelopeOrigin, measurement: Measurement): void {
    const size = ENVELOPE_OVERHEAD_BYTES + JSON.stringify(measurement).length;
    this.#add(origin, { ...this.#header(origin), ...measurement }, size);
  }

  /** For output that comes in chunks which end anywhere. */
  openSink(origin: EnvelopeOrigin & { type: 'OUT' | 'ERR' }): LogLineSink {
    let held: Buffer[] = [];
    let held_bytes = 0;
    const release = (rest?: Buffer): void => {
      if (rest) held.push(rest);
      if (held.length > 0) this.emit({ ...origin, payload: held.length === 1 ? (held[0] ?? '') : Buffer.concat(held) });
      held = [];
      held_bytes = 0;
    };
    return {
      write: (chunk) => {
        const newline = chunk.lastIndexOf(NEWLINE);
        if (newline >= 0) release(chunk.subarray(0, newline));
        // The remainder is copied: who calls may use the chunk's memory again.
        const rest = Buffer.from(chunk.subarray(newline + 1));
        if (rest.length > 0) held.push(rest);
        held_bytes += rest.length;
        if (held_bytes < MAX_LOG_LINE_BYTES) return;
        const line = Buffer.concat(held);
        const end = wholeCharacters(line, line.length);
        held = [line.subarray(0, end)];
        release();
        if (end < line.length) held.push(line.subarray(end));
        held_bytes = line.length - end;
      },
      end: () => release(),
    };
  }

  /** Sends what waits, and resolves when the bus has it. */
  async flush(): Promise<void> {
    this.#sendAll();
    await this.#publisher.flush?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#reconnect?.[Symbol.dispose]();
    this.#heardFrom_ms = 0;
    clearTimeout(this.#timer);
    // The bus may go in the same moment: what it did not take then is lost, which is no reason to fail.
    await this.flush().catch(() => undefined);
  }

  #emitLine(origin: LogLines, line: Buffer): void {
    this.#lines += 1;
    for (let start = 0; start < line.length;) {
      const end = Math.min(line.length, start + MAX_LOG_LINE_BYTES);
      const cut = end === line.length ? end : start + wholeCharacters(line.subarray(start), end - start);
      const payload = line.toString('base64', start, cut);
      const size = ENVELOPE_OVERHEAD_BYTES + payload.length;
      this.#add(origin, { ...this.#header(origin, origin.timestamp_ns), log: { payload, type: origin.type } }, size);
      start = cut;
    }
  }

  #header(origin: EnvelopeOrigin, written_ns?: string): Omit<Envelope, 'log'> {
    return {
      timestamp: this.#timestamp(written_ns),
      source_id: origin.source_id,
      instance_id: origin.instance_id,
      tags: { ...this.#tags, source_type: origin.source_type, ...origin.tags },
    };
  }

  #add(origin: EnvelopeOrigin, envelope: Envelope, bare_size: number): void {
    let pending = this.#pending.get(origin.source_id);
    if (!pending) {
      pending = { queue: [], bytes: 0, dropped: 0, last: origin };
      this.#pending.set(origin.source_id, pending);
    }
    pending.last = origin;
    let size = bare_size;
    for (const name in envelope.tags) size += name.length + (envelope.tags[name] ?? '').length + 6;
    // After a first loss nothing more is kept until the loss was told, or the gap would seem to be elsewhere.
    const isFull = pending.bytes + size > this.#limits.source || this.#bytes + size > this.#limits.all;
    if (pending.dropped > 0 || (isFull && pending.bytes > 0) || this.#isDisposed) {
      pending.dropped += 1;
      this.#dropped += 1;
    } else {
      pending.queue.push({ envelope, size });
      pending.bytes += size;
      this.#bytes += size;
      if (pending.bytes >= this.#limits.batch) this.#send(origin.source_id, pending);
    }
    if (!this.#isDisposed) this.#timer ??= setTimeout(() => this.#sendAll(), this.#limits.interval_ms);
  }

  #sendAll(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [source_id, pending] of this.#pending) this.#send(source_id, pending);
    if (this.#pending.size > 0 && !this.#isDisposed) {
      // Away: look again less often, and keep no process alive for it.
      this.#timer = setTimeout(() => this.#sendAll(), Math.max(this.#limits.interval_ms, 250)).unref();
    }
  }

  #send(source_id: string, pending: Pending): void {
    while (pending.queue.length > 0) {
      const { batch, bytes } = this.#nextBatch(pending);
      if (!this.#publish(source_id, batch)) return;
      pending.queue.splice(0, batch.length);
      pending.bytes -= bytes;
      this.#bytes -= bytes;
    }
    if (pending.dropped > 0) {
      if (!this.#publish(source_id, [this.#lossEnvelope(source_id, pending)])) return;
    }
    this.#pending.delete(source_id);
  }

  #publish(source_id: string, batch: Envelope[]): boolean {
    if (!this.#publisher.isConnected || performance.now() < this.#heardFrom_ms) return false;
    const sent_before = this.#sent.get(source_id) ?? 0;
    const topic = envelopes(subjectToken(source_id));
    // A batch has the lines of many, whoever's timer it is that sends it.
    const said = { batch, emitter: this.#id, sent_before };
    if (!forRequest(undefined, () => this.#publisher.publish(topic, said))) return false;
    // Sources come and go; counting anew loses no more than one chance to notice a loss.
    if (this.#sent.size >= MAX_COUNTED_SOURCES) this.#sent.clear();
    this.#sent.set(source_id, sent_before + batch.length);
    return true;
  }

  /** Batches stay far below the message bus's 1 MiB, also those that piled up while it was away. */
  #nextBatch(pending: Pending): { batch: Envelope[]; bytes: number } {
    const batch: Envelope[] = [];
    let bytes = 0;
    for (const { envelope, size } of pending.queue) {
      if (bytes >= this.#limits.batch) break;
      batch.push(envelope);
      bytes += size;
    }
    return { batch, bytes };
  }

  #lossEnvelope(source_id: string, pending: Pending): Envelope {
    const text = `${pending.dropped} messages dropped for ${source_id}, because the message bus was away`;
    return {
      ...this.#header({ ...pending.last, source_type: 'LGR' }),
      log: { payload: Buffer.from(text).toString('base64'), type: 'ERR' },
    };
  }

  #timestamp(written_ns: string | undefined): string {
    const ms = written_ns === undefined ? Math.floor(this.#now_ms()) : Number(written_ns.slice(0, -6));
    const withinMs = written_ns === undefined ? 0 : Number(written_ns.slice(-6));
    // The wall clock may step back; a million envelopes in one ms push the stamp on into the next.
    if (ms > this.#last_ms || (ms === this.#last_ms && withinMs > this.#withinMs)) {
      this.#last_ms = ms;
      this.#withinMs = withinMs;
    } else if (++this.#withinMs === NS_PER_MS) {
      this.#last_ms += 1;
      this.#withinMs = 0;
    }
    return `${this.#last_ms}${String(this.#withinMs).padStart(6, '0')}`;
  }
}

/** NATS splits subjects at dots and forbids blanks; the envelope itself keeps the true name. */
function subjectToken(source_id: string): string {
  return /^[\w-]+$/.test(source_id) ? source_id : source_id.replace(/[^\w-]/g, '_') || '_';
}

function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length;) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline < 0 ? bytes.length : newline;
    const textEnd = end > start && bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end;
    if (textEnd > start) yield bytes.subarray(start, textEnd);
    start = end + 1;
  }
}

/** The longest prefix of at most `limit` bytes that does not end within a UTF-8 character. */
function wholeCharacters(bytes: Buffer, limit: number): number {
  // Back to the last lead byte; a character has at most three bytes after it, so further back it is no text at all.
  for (let at = limit - 1; at >= Math.max(0, limit - 4); at--) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x80) return limit;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return at > 0 && at + length > limit ? at : limit;
  }
  return limit;
}
