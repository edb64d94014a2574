import { Envelope } from '#contracts/loggregator.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Entry, Kind, Origin } from './chunk.ts';

export interface IntakeOptions {
  clock: Clock;
  /** Entries of one source in a second; 0 for no limit. */
  source_lines_per_s: number;
  /** Takes what passed, one call for each source of a batch. */
  deliver: (source_id: string, entries: readonly Entry[]) => void;
}

const MEASUREMENTS = ['counter', 'gauge', 'timer', 'event'] as const;
const KIND_OF = { counter: 'COUNTER', gauge: 'GAUGE', timer: 'TIMER', event: 'EVENT' } as const;
const MAX_ORIGINS = 512;
const MAX_EMITTERS = 256;
const MAX_SOURCE_ID_LENGTH = 256;
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

interface Source {
  /** Origins seen, so that equal ones are one object. */
  origins: Map<string, Origin>;
  last: Origin | undefined;
  /** By emitter, how many of its envelopes there should have been so far. */
  seen: Map<string, number>;
  window: number;
  taken: number;
  dropped: number;
  lastTimestamp: bigint;
}

/** From batches off the bus to entries: checks, limits the rate of each source, and tells in its stream what was dropped. */
export class Intake implements Disposable {
  readonly #options: IntakeOptions;
  readonly #sources = new Map<string, Source>();
  readonly #timer: Disposable;
  readonly figures = { taken: 0, malformed: 0, limited: 0, missing: 0 };

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#timer = options.clock.every(1_000, () => this.#turn());
  }

  /** Takes a batch as it came from the bus; what is not as it should be is counted and left out. */
  take(message: unknown): void {
    const batch = isRecord(message) ? message['batch'] : undefined;
    if (!Array.isArray(batch)) {
      this.figures.malformed += 1;
      return;
    }
    this.#noticeGap(message as Record<string, unknown>, batch as unknown[]);
    let source_id: string | undefined;
    let entries: Entry[] = [];
    for (const item of batch as unknown[]) {
      const taken = this.#read(item);
      if (!taken) {
        this.figures.malformed += 1;
        continue;
      }
      if (taken.source_id !== source_id) {
        if (source_id !== undefined && entries.length > 0) this.#options.deliver(source_id, entries);
        entries = [];
        ({ source_id } = taken);
      }
      if (taken.entry) entries.push(taken.entry);
    }
    if (source_id !== undefined && entries.length > 0) this.#options.deliver(source_id, entries);
    this.figures.taken += batch.length;
  }

  /** Tells of a loss in the stream of the source that it befell. */
  tellLoss(source_id: string, count: number, why: string): void {
    this.tell(source_id, `${count} messages dropped for ${source_id}, because ${why}`);
  }

  /** Says a word of our own in a source's stream. */
  tell(source_id: string, text: string): void {
    const source = this.#source(source_id);
    const now = BigInt(Math.floor(this.#options.clock.now())) * 1_000_000n;
    const timestamp = source.lastTimestamp > now ? source.lastTimestamp + 1n : now;
    const origin: Origin = {
      instance_id: source.last?.instance_id ?? '0',
      tags: { ...source.last?.tags, source_type: 'LGR' },
    };
    this.#options.deliver(source_id, [{ timestamp, kind: 'ERR', origin, payload: Buffer.from(text) }]);
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    this.#turn();
  }

  /** An emitter says how many it sent before; what it sent and we have not seen was lost on the way. */
  #noticeGap({ emitter, sent_before }: Record<string, unknown>, batch: readonly unknown[]): void {
    const [head] = batch;
    const source_id = isRecord(head) ? head['source_id'] : undefined;
    if (typeof emitter !== 'string' || typeof sent_before !== 'number' || typeof source_id !== 'string') return;
    const { seen } = this.#source(source_id);
    const missing = sent_before - (seen.get(emitter) ?? sent_before);
    if (seen.size >= MAX_EMITTERS && !seen.has(emitter)) seen.clear();
    seen.set(emitter, sent_before + batch.length);
    if (missing <= 0) return;
    this.figures.missing += missing;
    this.tellLoss(source_id, missing, 'they got lost on the message bus');
  }

  #read(item: unknown): { source_id: string; entry: Entry | undefined } | undefined {
    // Millions of log lines go through here; the schema is asked only about what is not plainly right.
    const envelope = isPlainLog(item) ? item : Envelope.safeParse(item).data;
    if (!envelope) return undefined;
    const { source_id } = envelope;
    const timestamp = int64(envelope.timestamp);
    if (timestamp === undefined || source_id === '' || source_id.length > MAX_SOURCE_ID_LENGTH) return undefined;
    const content = contentOf(envelope);
    if (!content) return undefined;
    const source = this.#source(source_id);
    source.lastTimestamp = timestamp;
    if (!this.#mayPass(source)) return { source_id, entry: undefined };
    return { source_id, entry: { timestamp, origin: originOf(source, envelope), ...content } };
  }

  #mayPass(source: Source): boolean {
    const limit = this.#options.source_lines_per_s;
    source.taken += 1;
    if (limit === 0 || source.taken <= limit) return true;
    source.dropped += 1;
    this.figures.limited += 1;
    return false;
  }

  #source(source_id: string): Source {
    let source = this.#sources.get(source_id);
    if (!source) {
      source = {
        origins: new Map(),
        last: undefined,
        seen: new Map(),
        window: 0,
        taken: 0,
        dropped: 0,
        lastTimestamp: 0n,
      };
      this.#sources.set(source_id, source);
    }
    return source;
  }

  /** Each second: a new allowance, and word of what the last one cost. */
  #turn(): void {
    for (const [source_id, source] of this.#sources) {
      const { dropped, taken } = source;
      source.taken = 0;
      source.dropped = 0;
      if (dropped > 0) {
        const { source_lines_per_s } = this.#options;
        this.tellLoss(source_id, dropped, `it wrote more than ${source_lines_per_s} lines per second`);
      }
      // Quiet for a while: its origins are learnt again when it speaks.
      source.window = taken === 0 ? source.window + 1 : 0;
      if (source.window > 600) this.#sources.delete(source_id);
    }
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isPlainLog(item: unknown): item is Envelope {
  if (!isRecord(item) || !isRecord(item['log']) || !isRecord(item['tags'])) return false;
  const { log } = item;
  if (typeof log['payload'] !== 'string' || (log['type'] !== 'OUT' && log['type'] !== 'ERR')) return false;
  for (const name in item['tags']) if (typeof item['tags'][name] !== 'string') return false;
  return (
    typeof item['timestamp'] === 'string' &&
    typeof item['source_id'] === 'string' &&
    typeof item['instance_id'] === 'string'
  );
}

function contentOf(envelope: Envelope): { kind: Kind; payload: Buffer } | undefined {
  if (envelope.log) return { kind: envelope.log.type, payload: Buffer.from(envelope.log.payload, 'base64') };
  for (const name of MEASUREMENTS) {
    const value = envelope[name];
    if (value !== undefined) return { kind: KIND_OF[name], payload: Buffer.from(JSON.stringify(value)) };
  }
  return undefined;
}

function originOf(source: Source, { instance_id, tags }: Envelope): Origin {
  const { last } = source;
  if (last && last.instance_id === instance_id && isEqual(last.tags, tags)) return last;
  const key = JSON.stringify([instance_id, tags]);
  let origin = source.origins.get(key);
  if (!origin) {
    origin = { instance_id, tags };
    if (source.origins.size >= MAX_ORIGINS) source.origins.clear();
    source.origins.set(key, origin);
  }
  source.last = origin;
  return origin;
}

function isEqual(one: Readonly<Record<string, string>>, other: Readonly<Record<string, string>>): boolean {
  let names = 0;
  for (const name in one) {
    if (one[name] !== other[name]) return false;
    names += 1;
  }
  for (const _name in other) names -= 1;
  return names === 0;
}

function int64(text: string): bigint | undefined {
  if (!/^-?\d{1,19}$/.test(text)) return undefined;
  const value = BigInt(text);
  return value < INT64_MIN || value > INT64_MAX ? undefined : value;
}
