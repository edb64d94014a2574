import type { BlockList } from 'node:net';
import { blockListOf } from '#http/guarded-lookup.ts';
import type { Clock } from '#kernel/clock.ts';
import type { ComponentContext } from '#kernel/component.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Entry } from './chunk.ts';
import { Drain, hostOf } from './drain.ts';
import type { LoggregatorConfig } from './config.ts';
import { type DrainTarget, fetchDrains } from './drain-list.ts';
import { isMetricsEndpoint } from './metrics-endpoints.ts';

export interface DrainsOptions {
  fetch: () => Promise<DrainTarget[]>;
  /** Takes what is listed among the drains and is none: where apps show metrics. */
  onEndpoints?: (targets: readonly DrainTarget[]) => void;
  clock: Clock;
  log: Log;
  poll_ms: number;
  buffer_bytes: number;
  timeout_ms: number;
  first_retry_ms: number;
  max_retry_ms: number;
  /** `address/prefix` */
  blocked_networks: readonly string[];
  /** How often losses are told. */
  tell_ms: number;
  /** Tells of a loss in the app's own stream. */
  onLost: (app_id: string, count: number, why: string) => void;
}

const TELL_INTERVAL_MS = 5_000;

/** All drains of all apps, kept as the cloud controller lists them. While it is away, those that are known go on. */
export class Drains implements AsyncDisposable {
  readonly #options: DrainsOptions;
  readonly #drains = new Map<string, Drain>();
  readonly #byApp = new Map<string, Set<Drain>>();
  readonly #blocked: BlockList;
  readonly #timers = new DisposableStack();
  readonly #ending = new Set<Promise<void>>();
  #isFailing = false;
  #dropped = 0;
  #gone = 0;

  constructor(options: DrainsOptions) {
    this.#options = options;
    this.#blocked = blockListOf(options.blocked_networks);
    this.#timers.use(options.clock.every(options.poll_ms, async () => await this.poll()));
    this.#timers.use(options.clock.every(options.tell_ms, () => this.#tell()));
  }

  get figures(): { drains: number; sent: number; dropped: number } {
    let sent = this.#gone;
    for (const drain of this.#drains.values()) sent += drain.sent;
    return { drains: this.#drains.size, sent, dropped: this.#dropped };
  }

  deliver(source_id: string, entries: readonly Entry[]): void {
    for (const drain of this.#byApp.get(source_id) ?? []) drain.write(entries);
  }

  async poll(): Promise<void> {
    const { log } = this.#options;
    let targets: DrainTarget[];
    try {
      targets = await this.#options.fetch();
    } catch (error) {
      if (!this.#isFailing) log.warn({ error: describeError(error) }, 'list of drains not read');
      this.#isFailing = true;
      return;
    }
    this.#isFailing = false;
    const [endpoints = [], drains = []] = partition(targets, isMetricsEndpoint);
    this.#options.onEndpoints?.(endpoints);
    const wanted = new Map(drains.map((target) => [JSON.stringify(target), target]));
    for (const [key, drain] of this.#drains) if (!wanted.has(key)) this.#remove(key, drain);
    for (const [key, target] of wanted) if (!this.#drains.has(key)) this.#add(key, target);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timers.dispose();
    for (const [key, drain] of this.#drains) this.#remove(key, drain);
    await Promise.all(this.#ending);
  }

  #add(key: string, target: DrainTarget): void {
    const drain = new Drain({ ...this.#options, blocked: this.#blocked, target });
    this.#drains.set(key, drain);
    this.#byApp.set(target.app_id, (this.#byApp.get(target.app_id) ?? new Set()).add(drain));
    this.#options.log.info({ app_id: target.app_id, drain: hostOf(target.url) }, 'drain added');
  }

  #remove(key: string, drain: Drain): void {
    const { app_id, url } = drain.target;
    this.#drains.delete(key);
    const others = this.#byApp.get(app_id);
    others?.delete(drain);
    if (others?.size === 0) this.#byApp.delete(app_id);
    this.#gone += drain.sent;
    this.#options.log.info({ app_id, drain: hostOf(url) }, 'drain removed');
    const ending = drain[Symbol.asyncDispose]().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  #tell(): void {
    for (const drain of this.#drains.values()) {
      const { count, why } = drain.takeLoss();
      if (count === 0) continue;
      this.#dropped += count;
      const { app_id, url } = drain.target;
      this.#options.onLost(app_id, count, `its syslog drain ${hostOf(url)} did not take them: ${why}`);
    }
  }
}

function partition<T>(all: readonly T[], test: (one: T) => boolean): T[][] {
  const groups = Map.groupBy(all, test);
  return [groups.get(true) ?? [], groups.get(false) ?? []];
}

/** The drains as configured, listed by the cloud controller. */
export function openDrains(
  { cc_url, internal_api, drains }: Pick<LoggregatorConfig, 'cc_url' | 'internal_api' | 'drains'>,
  { clock, log }: ComponentContext,
  { onLost, onEndpoints }: Pick<DrainsOptions, 'onLost' | 'onEndpoints'>,
): Drains {
  const { timeout_ms, first_retry_ms, blocked_networks } = drains;
  const opened = new Drains({
    fetch: async () => await fetchDrains({ cc_url, credentials: internal_api, timeout_ms }),
    clock,
    log,
    poll_ms: drains.poll_s * 1000,
    buffer_bytes: drains.buffer_kb * 1024,
    timeout_ms,
    first_retry_ms,
    max_retry_ms: drains.max_retry_s * 1000,
    blocked_networks,
    tell_ms: TELL_INTERVAL_MS,
    onLost,
    ...(onEndpoints && { onEndpoints }),
  });
  void opened.poll();
  return opened;
}
