import { AppError, describeError } from '#kernel/errors.ts';
import { type Exposition, parseLabels } from '#http/exposition.ts';
import type { Log } from '#kernel/log.ts';

/** One figure at one moment, ready to be sent. */
export interface SentSample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
  at_ms: number;
}

export interface RemoteWriteOptions {
  url: string;
  headers: Readonly<Record<string, string>>;
  timeout_ms: number;
  /** Rounds kept while the receiver is away; the oldest go first, and are counted. */
  max_rounds: number;
  log: Log;
}

class PushRefused extends AppError {
  readonly isForGood: boolean;
  constructor(status: number, said: string) {
    super('push_refused', `the receiver answered ${status}: ${said.slice(0, 200)}`);
    // It will not take these samples at another time either. Source: the remote-write specification.
    this.isForGood = status >= 400 && status < 500 && status !== 429;
  }
}

const SAMPLES_A_REQUEST = 2_000;

/**
 * Pushes figures by Prometheus' remote-write protocol 1.0, which Prometheus itself, Mimir, Thanos and VictoriaMetrics receive.
 * Source: prometheus.io/docs/specs/prw/remote_write_spec.
 */
export class RemoteWrite {
  readonly #options: RemoteWriteOptions;
  readonly #rounds: SentSample[][] = [];
  #isFailing = false;
  #isSending = false;
  readonly figures = { sent: 0, dropped: 0 };

  constructor(options: RemoteWriteOptions) {
    this.#options = options;
  }

  /** Takes a round of samples and sends what waits, oldest first. */
  async push(samples: SentSample[]): Promise<void> {
    this.#rounds.push(samples);
    while (this.#rounds.length > this.#options.max_rounds) this.figures.dropped += this.#rounds.shift()?.length ?? 0;
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      await this.#sendAll();
    } finally {
      this.#isSending = false;
    }
  }

  async #sendAll(): Promise<void> {
    const { log, url } = this.#options;
    const to = URL.parse(url)?.host;
    for (let round = this.#rounds.shift(); round !== undefined; round = this.#rounds.shift()) {
      try {
        for (let at = 0; at < round.length; at += SAMPLES_A_REQUEST) {
          await this.#post(round.slice(at, at + SAMPLES_A_REQUEST));
        }
        this.figures.sent += round.length;
        if (this.#isFailing) log.info({ to }, 'figures pushed again');
        this.#isFailing = false;
      } catch (error) {
        if (!this.#isFailing) log.warn({ to, error: describeError(error) }, 'figures not pushed');
        this.#isFailing = true;
        if (error instanceof PushRefused && error.isForGood) {
          this.figures.dropped += round.length;
          continue;
        }
        this.#rounds.unshift(round);
        return;
      }
    }
  }

  async #post(samples: readonly SentSample[]): Promise<void> {
    const { url, headers, timeout_ms } = this.#options;
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        ...headers,
        'Content-Type': 'application/x-protobuf',
        'Content-Encoding': 'snappy',
        'X-Prometheus-Remote-Write-Version': '0.1.0',
      },
      body: new Uint8Array(snappyBlock(writeRequest(samples))),
      signal: AbortSignal.timeout(timeout_ms),
    });
    const said = await response.text();
    if (!response.ok) throw new PushRefused(response.status, said);
  }
}

/** Samples of an exposition with these labels before their own. */
export function samplesOf(
  exposition: Exposition,
  { labels, at_ms }: { labels: Readonly<Record<string, string>>; at_ms: number },
): SentSample[] {
  return exposition.flatMap(({ samples }) =>
    samples.map(({ name, labels: own, value }) => {
      const all: Record<string, string> = { ...labels };
      for (const [label, text] of Object.entries(parseLabels(own))) {
        all[label in labels ? `exported_${label}` : label] = text;
      }
      return { name, labels: all, value, at_ms };
    }),
  );
}

/**
 * The protocol's `WriteRequest`: timeseries = 1 {labels = 1 {name = 1, value = 2}, samples = 2 {value = 1 double, timestamp = 2
 * int64}}, labels sorted by name.
 */
export function writeRequest(samples: readonly SentSample[]): Buffer {
  return Buffer.concat(
    samples.map(({ name, labels, value, at_ms }) => {
      const sorted = Object.entries({ ...labels, __name__: name })
        .filter(([, text]) => text !== '')
        .sort(([a], [b]) => (a < b ? -1 : 1));
      const number = Buffer.alloc(9, 0x09);
      number.writeDoubleLE(value, 1);
      const sample = Buffer.concat([number, Buffer.from([0x10]), varint(Math.floor(at_ms))]);
      const parts = sorted.map(([label, text]) => field(1, Buffer.concat([textField(1, label), textField(2, text)])));
      return field(1, Buffer.concat([...parts, field(2, sample)]));
    }),
  );
}

function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2]), varint(bytes.length), bytes]);
}

const textField = (number: number, text: string): Buffer => field(number, Buffer.from(text));

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/**
 * A valid block of snappy that copies nothing: the length, then literals. The receiver asks for snappy, and between two machines of
 * one data centre what compression saves is not worth a native library. Source: google/snappy format_description.txt.
 */
export function snappyBlock(bytes: Buffer): Buffer {
  const LITERAL = 0x1_0000;
  const parts: Buffer[] = [varint(bytes.length)];
  for (let at = 0; at < bytes.length; at += LITERAL) {
    const piece = bytes.subarray(at, at + LITERAL);
    const head = Buffer.from([61 << 2, 0, 0]);
    head.writeUInt16LE(piece.length - 1, 1);
    parts.push(head, piece);
  }
  return Buffer.concat(parts);
}
