import type { LogEmitter } from '#bus/log-emitter.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Endpoint } from './endpoint.ts';
import type { Exchange } from './exchange.ts';

interface AppLines {
  endpoint: Endpoint | undefined;
  /** Lines taken in this second, and how many were too many. */
  taken: number;
  dropped: number;
}

/** Access log lines on their way to the log of the app they are about, at most so many a second of each. */
export class AppLog implements Disposable {
  readonly #emitter: LogEmitter;
  readonly #lines_per_s: number;
  readonly #hasTimers: boolean;
  readonly #apps = new Map<string, AppLines>();
  readonly #timer: Disposable;

  constructor(options: { emitter: LogEmitter; clock: Clock; lines_per_s: number; hasTimers: boolean }) {
    this.#emitter = options.emitter;
    this.#lines_per_s = options.lines_per_s;
    this.#hasTimers = options.hasTimers;
    this.#timer = options.clock.every(1000, () => this.#newSecond());
  }

  /** Counts a line of this app; false when it is one too many for this second. */
  mayTake(guid: string): boolean {
    let app = this.#apps.get(guid);
    if (app === undefined) this.#apps.set(guid, (app = { endpoint: undefined, taken: 0, dropped: 0 }));
    if (app.taken++ < this.#lines_per_s) return true;
    app.dropped++;
    return false;
  }

  add(endpoint: Endpoint, line: string, exchange: Exchange): void {
    const app = this.#apps.get(endpoint.app);
    if (app === undefined) return;
    app.endpoint = endpoint;
    this.#emit(endpoint, line);
    if (this.#hasTimers) this.#time(endpoint, exchange);
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }

  #newSecond(): void {
    for (const [guid, app] of this.#apps) {
      if (app.dropped > 0 && app.endpoint !== undefined) {
        const above = `above ${this.#lines_per_s} a second`;
        this.#emit(app.endpoint, `router: ${app.dropped} access log lines of this app were left out (${above})`);
      }
      if (app.taken === 0) this.#apps.delete(guid);
      app.taken = 0;
      app.dropped = 0;
    }
  }

  /** gorouter's `http`: from the request to the end of its answer. Source: loggregator's v2 form of dropsonde's HttpStartStop. */
  #time(endpoint: Endpoint, { head, front, requestId, status, bytesOut, startedAt_ms, took_ms }: Exchange): void {
    const start = Math.round(startedAt_ms * 1000);
    this.#emitter.emitMeasurement(
      {
        ...originOf(endpoint),
        tags: {
          ...endpoint.tags,
          request_id: requestId,
          method: head.method,
          uri: `${head.hostLine}${head.target}`,
          status_code: String(status),
          content_length: String(bytesOut),
          user_agent: head.userAgent,
          remote_address: front.remoteText,
          routing_instance_id: endpoint.instance_id,
          peer_type: 'Server',
        },
      },
      { timer: { name: 'http', start: `${start}000`, stop: `${start + Math.round(took_ms * 1000)}000` } },
    );
  }

  #emit(endpoint: Endpoint, line: string): void {
    this.#emitter.emit({
      ...originOf(endpoint),
      ...(endpoint.tags && { tags: endpoint.tags }),
      // A char is a byte as it came.
      payload: Buffer.from(line, 'latin1'),
      type: 'OUT',
    });
  }
}

const originOf = (endpoint: Endpoint): { source_id: string; instance_id: string; source_type: string } => ({
  source_id: endpoint.app,
  instance_id: endpoint.instance_index === '' ? '0' : endpoint.instance_index,
  source_type: 'RTR',
});
