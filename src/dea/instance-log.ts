import type { EnvelopeOrigin, LogEmitter } from '#bus/log-emitter.ts';
import type { StartMessage } from '#contracts/dea.ts';
import type { Clock } from '#kernel/clock.ts';
import { LogRateLimit } from './log-rate-limit.ts';

/** What a crash report shows. */
const LAST_LINES = 10;
const LAST_LINE_CHARACTERS = 500;

/** The log of one instance: what its jobs write, and what the cell says of it. */
export class InstanceLog {
  readonly #start: StartMessage;
  readonly #need: { emitter: LogEmitter; clock: Clock };
  readonly #limit: LogRateLimit;
  readonly #last: string[] = [];

  constructor(start: StartMessage, need: { emitter: LogEmitter; clock: Clock }) {
    this.#start = start;
    this.#need = need;
    this.#limit = new LogRateLimit(start.limits.log_rate);
  }

  /** Bytes written by its jobs since we follow them. */
  get bytes(): number {
    return this.#limit.total;
  }

  /** The last lines that its jobs wrote, shortened; also those that its log rate kept out of the log. */
  get lastOutput(): string[] {
    return [...this.#last];
  }

  /** What a job is called in logs and exit descriptions: `APP/PROC/WEB`, `APP/TASK/migrate`, `APP/PROC/WEB/SIDECAR/NAME`. */
  nameOf(job_id: string): string {
    const start = this.#start;
    const sidecar = /^sidecar-(\d+)$/.exec(job_id)?.[1];
    const main =
      start.kind === 'TASK' ? `APP/TASK/${start.task_name ?? ''}` : `APP/PROC/${start.process_type.toUpperCase()}`;
    return sidecar === undefined
      ? main
      : `${main}/SIDECAR/${start.sidecars[Number(sidecar)]?.name.toUpperCase() ?? ''}`;
  }

  output(job_id: string, type: 'OUT' | 'ERR', line: Buffer, timestamp_ns: string): void {
    // Loggregator keeps no empty lines either.
    if (line.length === 0) return;
    this.#last.push(line.toString('utf8', 0, LAST_LINE_CHARACTERS));
    if (this.#last.length > LAST_LINES) this.#last.shift();
    const verdict = this.#limit.take(line.length, this.#need.clock.monotonic());
    if (verdict === 'pass') {
      this.#need.emitter.emit({ ...this.#source(this.nameOf(job_id)), type, payload: line, timestamp_ns });
    } else if (verdict === 'drop and tell') {
      this.app(`app instance exceeded log rate limit (${this.#start.limits.log_rate} bytes/sec)`, 'ERR');
    }
  }

  app(text: string, type: 'OUT' | 'ERR' = 'OUT'): void {
    this.#need.emitter.emit({ ...this.#source(this.nameOf('app')), type, payload: text });
  }

  cell(text: string, type: 'OUT' | 'ERR' = 'OUT'): void {
    this.#need.emitter.emit({ ...this.#source('CELL'), type, payload: text });
  }

  gauge(metrics: Record<string, { unit: string; value: number }>): void {
    this.#need.emitter.emitMeasurement(this.#source(this.nameOf('app')), { gauge: { metrics } });
  }

  #source(source_type: string): EnvelopeOrigin {
    return logSource(this.#start, source_type);
  }
}

/** Whose envelopes an instance's are. Source: loggregator's tags as Diego sets them. */
export function logSource(start: StartMessage, source_type: string): EnvelopeOrigin {
  return {
    source_id: start.app,
    instance_id: String(start.index),
    source_type,
    tags: {
      instance_id: String(start.index),
      app_id: start.app,
      app_name: start.name,
      space_name: start.space_name,
      organization_name: start.organization_name,
      process_id: start.droplet,
      process_type: start.process_type,
      process_instance_id: start.instance,
    },
  };
}
