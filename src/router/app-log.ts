import { envelopes, type Envelope } from '#contracts/loggregator.ts';
import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Endpoint } from './endpoint.ts';

const FLUSH_INTERVAL_MS = 250;
/** A batch stays well below NATS's largest message of 1 MB. */
const MAX_BATCH_BYTES = 400_000;

interface Line {
  endpoint: Endpoint;
  at_ms: number;
  line: string;
}

interface AppLines {
  lines: Line[];
  last: Line | undefined;
  /** Lines taken in this second, and how many were too many. */
  taken: number;
  dropped: number;
}

/** Access log lines on their way to the log of the app they are about, in batches over the bus. */
export class AppLog implements Disposable {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #lines_per_s: number;
  readonly #apps = new Map<string, AppLines>();
  readonly #timers: Disposable[];

  constructor(options: { bus: Bus; clock: Clock; lines_per_s: number }) {
    this.#bus = options.bus;
    this.#clock = options.clock;
    this.#lines_per_s = options.lines_per_s;
    this.#timers = [
      this.#clock.every(FLUSH_INTERVAL_MS, () => this.flush()),
      this.#clock.every(1000, () => this.#newSecond()),
    ];
  }

  /** Counts a line of this app; false when it is one too many for this second. */
  mayTake(guid: string): boolean {
    let app = this.#apps.get(guid);
    if (app === undefined) this.#apps.set(guid, (app = { lines: [], last: undefined, taken: 0, dropped: 0 }));
    if (app.taken++ < this.#lines_per_s) return true;
    app.dropped++;
    return false;
  }

  add(endpoint: Endpoint, at_ms: number, line: string): void {
    const app = this.#apps.get(endpoint.app);
    if (app === undefined) return;
    app.last = { endpoint, at_ms, line };
    app.lines.push(app.last);
  }

  flush(): void {
    for (const [guid, app] of this.#apps) {
      if (app.lines.length === 0) continue;
      const lines = app.lines;
      app.lines = [];
      let batch: Envelope[] = [];
      let bytes = 0;
      for (const line of lines) {
        batch.push(envelopeOf(line));
        bytes += line.line.length * 1.4 + 400;
        if (bytes < MAX_BATCH_BYTES) continue;
        this.#bus.publish(envelopes(guid), { batch });
        batch = [];
        bytes = 0;
      }
      if (batch.length > 0) this.#bus.publish(envelopes(guid), { batch });
    }
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) timer[Symbol.dispose]();
    this.flush();
  }

  #newSecond(): void {
    for (const [guid, app] of this.#apps) {
      if (app.taken === 0 && app.lines.length === 0) this.#apps.delete(guid);
      const { last } = app;
      if (app.dropped > 0 && last !== undefined) {
        app.lines.push({
          ...last,
          at_ms: this.#clock.now(),
          line: `router: ${app.dropped} access log lines of this app were left out (above ${this.#lines_per_s} a second)`,
        });
      }
      app.taken = 0;
      app.dropped = 0;
    }
  }
}

function envelopeOf({ endpoint, at_ms, line }: Line): Envelope {
  return {
    timestamp: `${Math.floor(at_ms)}000000`,
    source_id: endpoint.app,
    instance_id: endpoint.instance_index === '' ? '0' : endpoint.instance_index,
    tags: { ...endpoint.tags, source_type: 'RTR' },
    log: { payload: Buffer.from(line, 'latin1').toString('base64'), type: 'OUT' },
  };
}
