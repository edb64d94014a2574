import { request } from 'node:http';
import { z } from 'zod';
import type { Bus } from '#bus/bus.ts';
import { RouteMessage, routerRegister, routerUnregister } from '#contracts/router.ts';
import { topic } from '#contracts/topic.ts';
import { type Exposition, parseExposition, parseLabels } from '#http/exposition.ts';
import type { Clock } from '#kernel/clock.ts';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Entry, Kind } from './chunk.ts';
import type { LoggregatorConfig } from './config.ts';
import type { DrainTarget } from './drain-list.ts';
import type { Intake } from './intake.ts';

export interface MetricsEndpointsOptions {
  bus: Bus;
  clock: Clock;
  interval_ms: number;
  timeout_ms: number;
  /** Samples taken of one instance at a time. */
  max_samples: number;
  deliver: (source_id: string, entries: readonly Entry[]) => void;
  /** Says in the app's stream what is wrong with its endpoint. */
  tell: (app_id: string, text: string) => void;
}

/** How an app's own figures are told from those that the platform takes of it. */
export const APP_METRICS_SOURCE_TYPE = 'APP/METRICS';
const SCHEME = 'metrics-endpoint:';
const MAX_BODY_BYTES = 2 * 1024 * 1024;
/** As long as the router keeps a route that is not registered again. */
const STALE_MS = 120_000;
const AT_ONCE = 16;

class EndpointUnreadable extends AppError {
  constructor(why: string, options?: ErrorOptions) {
    super('endpoint_unreadable', why, options);
  }
}

interface Instance {
  app_id: string;
  index: string;
  host: string;
  port: number;
  /** Which of the app's hosts is asked for. */
  uri: string;
  tags: Readonly<Record<string, string>>;
  heardAt_ms: number;
  isFailing: boolean;
}

/** `metrics-endpoint:///path`, given as a drain's URL. Source: Cloud Foundry's metric registrar. */
export function isMetricsEndpoint({ url }: DrainTarget): boolean {
  return url.startsWith(SCHEME);
}

/**
 * Reads the metrics of apps that ask for it by a bound user-provided service whose drain is `metrics-endpoint:///path`, from every
 * instance that has a route, and puts them into the app's stream as gauges and counters. Where instances are is heard from what
 * they tell routers; it is listened to only while an app asks.
 */
export class MetricsEndpoints implements Disposable {
  readonly #options: MetricsEndpointsOptions;
  /** Paths by app. */
  #wanted = new Map<string, Set<string>>();
  readonly #instances = new Map<string, Instance>();
  #hearing: Disposable | undefined;
  readonly #timer: Disposable;
  readonly #stop = new AbortController();

  constructor(options: MetricsEndpointsOptions) {
    this.#options = options;
    this.#timer = options.clock.every(options.interval_ms, async () => await this.scrape());
  }

  get count(): number {
    return this.#wanted.size;
  }

  want(targets: readonly DrainTarget[]): void {
    this.#wanted = new Map();
    for (const { app_id, url } of targets) {
      const path = URL.parse(url)?.pathname ?? '';
      this.#wanted.set(app_id, (this.#wanted.get(app_id) ?? new Set()).add(path === '' ? '/metrics' : path));
    }
    for (const [key, { app_id }] of this.#instances) if (!this.#wanted.has(app_id)) this.#instances.delete(key);
    if (this.#wanted.size === 0) {
      this.#hearing?.[Symbol.dispose]();
      this.#hearing = undefined;
    }
    if (this.#wanted.size > 0) this.#hearing ??= this.#hear();
  }

  async scrape(): Promise<void> {
    const now = this.#options.clock.monotonic();
    const pending: [Instance, string][] = [];
    for (const [key, instance] of this.#instances) {
      if (now - instance.heardAt_ms > STALE_MS) this.#instances.delete(key);
      else for (const path of this.#wanted.get(instance.app_id) ?? []) pending.push([instance, path]);
    }
    const worker = async (): Promise<void> => {
      for (let next = pending.pop(); next !== undefined; next = pending.pop()) await this.#scrape(...next);
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, pending.length) }, worker));
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#timer[Symbol.dispose]();
    this.#hearing?.[Symbol.dispose]();
  }

  /** Every route of every app comes by: whose is asked first, and the schema only then. */
  #hear(): Disposable {
    const { bus, clock } = this.#options;
    const instanceOf = (message: unknown): RouteMessage | undefined => {
      const app = (message as { app?: unknown } | null)?.app;
      return typeof app === 'string' && this.#wanted.has(app) ? RouteMessage.safeParse(message).data : undefined;
    };
    const stack = new DisposableStack();
    stack.use(
      bus.subscribe(topic(routerRegister.subject, z.unknown()), (message) => {
        const route = instanceOf(message);
        if (route?.app === undefined || route.port === undefined) return;
        const key = keyOf(route);
        this.#instances.set(key, {
          app_id: route.app,
          index: route.private_instance_index ?? '0',
          host: route.host,
          port: route.port,
          uri: (route.uris[0] ?? '').split('/')[0] ?? '',
          tags: Object.fromEntries(Object.entries(route.tags ?? {}).filter(([tag]) => tag !== 'component')),
          heardAt_ms: clock.monotonic(),
          isFailing: this.#instances.get(key)?.isFailing ?? false,
        });
      }),
    );
    stack.use(
      bus.subscribe(topic(routerUnregister.subject, z.unknown()), (message) => {
        const route = instanceOf(message);
        // One of several routes may go; the instance is heard of again by the others.
        if (route) this.#instances.delete(keyOf(route));
      }),
    );
    return stack;
  }

  async #scrape(instance: Instance, path: string): Promise<void> {
    const { deliver, tell, max_samples } = this.#options;
    const { app_id, index } = instance;
    try {
      const text = await this.#get(instance, path);
      const exposition = parseExposition(text, max_samples + 1);
      const samples = exposition.reduce((sum, family) => sum + family.samples.length, 0);
      if (samples === 0) throw new EndpointUnreadable('it shows nothing in the text format of Prometheus');
      if (samples > max_samples) throw new EndpointUnreadable(`it shows more than ${max_samples} samples`);
      const entries = entriesOf(exposition, instance, BigInt(Math.floor(this.#options.clock.now())) * 1_000_000n);
      deliver(app_id, entries);
      if (instance.isFailing) tell(app_id, `the metrics of instance ${index} at ${path} are read again`);
      instance.isFailing = false;
    } catch (error) {
      if (this.#stop.signal.aborted || instance.isFailing) return;
      instance.isFailing = true;
      tell(app_id, `the metrics of instance ${index} at ${path} cannot be read: ${describeError(error)}`);
    }
  }

  /** Errors: EndpointUnreadable. */
  async #get({ host, port, uri }: Instance, path: string): Promise<string> {
    const signal = AbortSignal.any([AbortSignal.timeout(this.#options.timeout_ms), this.#stop.signal]);
    return await new Promise((resolve, reject) => {
      const fail = (error: unknown): void =>
        reject(error instanceof EndpointUnreadable ? error : new EndpointUnreadable('no answer', { cause: error }));
      const headers = { host: uri, accept: 'text/plain; version=0.0.4' };
      const asked = request({ host, port, path, headers, signal, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('error', fail);
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          bytes += chunk.length;
          if (bytes > MAX_BODY_BYTES) asked.destroy(new EndpointUnreadable(`more than ${MAX_BODY_BYTES} bytes`));
        });
        response.on('end', () => {
          if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString());
          else fail(new EndpointUnreadable(`it answers ${response.statusCode}`));
        });
      });
      asked.on('error', fail);
      asked.end();
    });
  }
}

const keyOf = ({ host, port }: RouteMessage): string => `${host}:${port}`;

/** Counters that are whole numbers are counters in Cloud Foundry's envelopes; all else is a gauge there. */
function entriesOf(exposition: Exposition, { index, tags }: Instance, now: bigint): Entry[] {
  let timestamp = now;
  return exposition.flatMap(({ type, samples }) =>
    samples.flatMap(({ name, labels, value }): Entry[] => {
      if (Number.isNaN(value)) return [];
      const isCount = type === 'counter' || (type === 'histogram' && !name.endsWith('_sum'));
      const isCounter = isCount && Number.isSafeInteger(value) && value >= 0;
      const payload = isCounter
        ? { name, total: String(value) }
        : { metrics: { [name]: { unit: '', value: Number.isFinite(value) ? value : 0 } } };
      const kind: Kind = isCounter ? 'COUNTER' : 'GAUGE';
      const origin = {
        instance_id: index,
        tags: { ...parseLabels(labels), ...tags, source_type: APP_METRICS_SOURCE_TYPE },
      };
      return [{ timestamp: timestamp++, kind, origin, payload: Buffer.from(JSON.stringify(payload)) }];
    }),
  );
}

export function openEndpoints(
  { scrape_s, scrape_timeout_ms, max_samples }: LoggregatorConfig['app_metrics'],
  { intake, ...use }: Pick<MetricsEndpointsOptions, 'bus' | 'clock' | 'deliver'> & { intake: Intake },
): MetricsEndpoints {
  const tell: MetricsEndpointsOptions['tell'] = (app_id, text) => intake.tell(app_id, text);
  return new MetricsEndpoints({
    ...use,
    tell,
    interval_ms: scrape_s * 1000,
    timeout_ms: scrape_timeout_ms,
    max_samples,
  });
}
