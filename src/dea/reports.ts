import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { requestHeaders } from '#kernel/request-scope.ts';
import { basicAuthHeader, type Credentials } from '#http/basic-auth.ts';
import type { PendingReport } from './store.ts';

export interface ReportsOptions {
  cc_url: string;
  internal_api: Credentials;
  /** How long one is offered before it is given up. */
  report_for_s: number;
  /** What was not taken, or not ended, when the process before this one did. */
  known: readonly PendingReport[];
  clock: Clock;
  log: Log;
  /** The list changed and is to be saved. */
  changed: () => Promise<void>;
}

const ANSWER_WITHIN_MS = 30_000;
/** Taken, unknown there, or ended there already: in each case there is nothing left to say. */
const FINAL = new Set([200, 404, 409]);

/**
 * Results of tasks and builds on their way to the cloud controller. They are kept on disk until it has taken them, so that
 * neither its absence nor our own death loses one.
 */
export class Reports implements AsyncDisposable {
  readonly #options: ReportsOptions;
  readonly #pending = new Map<string, PendingReport>();
  readonly #quit = new AbortController();
  readonly #sending = new Set<Promise<void>>();

  constructor(options: ReportsOptions) {
    this.#options = options;
    for (const report of options.known) this.#pending.set(report.guid, report);
  }

  get pending(): PendingReport[] {
    return [...this.#pending.values()];
  }

  /** Notes a build that is under way, so that its end will be told even if we do not live to see it. */
  async expect(guid: string): Promise<void> {
    this.#pending.set(guid, { kind: 'staging', guid });
    await this.#options.changed();
  }

  /** Resolves when the report is safe on disk; sending goes on behind. */
  async send(report: PendingReport): Promise<void> {
    this.#pending.set(report.guid, report);
    const sending = this.#deliver(report).finally(() => this.#sending.delete(sending));
    this.#sending.add(sending);
    await this.#options.changed();
  }

  /** Stops sending; what is not taken yet is still on disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#quit.abort();
    await Promise.all(this.#sending);
  }

  async #deliver(report: PendingReport): Promise<void> {
    const { cc_url, report_for_s, clock, log, changed } = this.#options;
    const folder = report.kind === 'task' ? 'tasks' : 'staging';
    const url = new URL(`/internal/${folder}/${report.guid}/completed`, cc_url);
    const end = clock.monotonic() + report_for_s * 1000;
    for (let pause_ms = 100; ; pause_ms = Math.min(5000, pause_ms * 2)) {
      const outcome = await this.#post(url, report.result);
      if (this.#quit.signal.aborted) return;
      if (outcome === 'final') break;
      if (clock.monotonic() > end) {
        log.error(
          { kind: report.kind, guid: report.guid, error: outcome.error },
          'result not taken by the cloud controller',
        );
        break;
      }
      try {
        await clock.sleep(pause_ms, this.#quit.signal);
      } catch {
        return;
      }
    }
    this.#pending.delete(report.guid);
    await changed();
  }

  async #post(url: URL, result: unknown): Promise<'final' | { error: string }> {
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          ...requestHeaders(),
          Authorization: basicAuthHeader(this.#options.internal_api),
          'Content-Type': 'application/json',
        },
        body: JSON.stringify(result),
        signal: AbortSignal.any([this.#quit.signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
      });
      await response.body?.cancel();
      return FINAL.has(response.status) ? 'final' : { error: `status ${response.status}` };
    } catch (error) {
      return { error: describeError(error) };
    }
  }
}
