import { z } from 'zod';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { type Span, traceTo } from '#kernel/trace.ts';

/** Traces of the platform's requests; off where there is no such file beside the components' configurations. */
export const TracingConfig = z.strictObject({
  otlp_endpoint: z
    .url({ protocol: /^https?$/ })
    .describe('where spans are posted to, at /v1/traces below it: OpenTelemetry over HTTP, as JSON'),
  headers: z.record(z.string(), z.string()).default({}).describe('such as Authorization'),
  interval_s: z.number().positive().default(2),
  timeout_ms: z.number().int().positive().default(5_000),
  max_waiting: z.number().int().positive().default(8_192).describe('spans kept while the receiver is away or slow'),
});
export type TracingConfig = z.infer<typeof TracingConfig>;

const SPANS_A_REQUEST = 512;
const KINDS = { server: 2, consumer: 5 } as const;
const ERROR = 2;

/**
 * Sends all spans of this process to an OpenTelemetry receiver. It hinders nobody: what finds no room is dropped and counted, and what
 * a receiver refuses is not sent again. Source: opentelemetry.io/docs/specs/otlp, with ids in hex and times in ns as its JSON has them.
 */
export class OtlpExporter implements AsyncDisposable {
  readonly #config: TracingConfig;
  readonly #log: Log;
  readonly #waiting: Span[] = [];
  readonly #stack = new DisposableStack();
  #sending: Promise<void> | undefined;
  #isFailing = false;
  readonly figures = { sent: 0, dropped: 0 };

  constructor(config: TracingConfig, { clock, log }: { clock: Clock; log: Log }) {
    this.#config = config;
    this.#log = log;
    this.#stack.use(traceTo((span) => this.#take(span)));
    this.#stack.use(clock.every(config.interval_s * 1000, async () => await this.flush()));
  }

  async flush(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = undefined));
    await this.#sending;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stack.dispose();
    await this.#sending;
    await this.flush();
  }

  #take(span: Span): void {
    if (this.#waiting.length >= this.#config.max_waiting) this.figures.dropped += 1;
    else this.#waiting.push(span);
  }

  async #sendAll(): Promise<void> {
    const { otlp_endpoint, headers, timeout_ms } = this.#config;
    while (this.#waiting.length > 0) {
      const spans = this.#waiting.splice(0, SPANS_A_REQUEST);
      try {
        const response = await fetch(`${otlp_endpoint.replace(/\/$/, '')}/v1/traces`, {
          method: 'POST',
          headers: { ...headers, 'Content-Type': 'application/json' },
          body: JSON.stringify(exportRequest(spans)),
          signal: AbortSignal.timeout(timeout_ms),
        });
        await response.body?.cancel();
        if (!response.ok) throw new Error(`the receiver answered ${response.status}`);
        this.figures.sent += spans.length;
        this.#isFailing = false;
      } catch (error) {
        this.figures.dropped += spans.length;
        if (!this.#isFailing) this.#log.warn({ error: describeError(error), dropped: spans.length }, 'traces not sent');
        this.#isFailing = true;
        return;
      }
    }
  }
}

/** OTLP's `ExportTraceServiceRequest`. */
export function exportRequest(spans: readonly Span[]): object {
  const resourceSpans = [...Map.groupBy(spans, ({ component }) => component)].map(([component, own]) => ({
    resource: { attributes: attributesOf({ 'service.name': component, 'service.namespace': 'ingot' }) },
    scopeSpans: [{ scope: { name: 'ingot' }, spans: own.map(spanOf) }],
  }));
  return { resourceSpans };
}

function spanOf({ trace_id, span_id, parent_span_id, ...span }: Span): object {
  return {
    traceId: trace_id,
    spanId: span_id,
    ...(parent_span_id !== undefined && { parentSpanId: parent_span_id }),
    name: span.name,
    kind: KINDS[span.kind],
    startTimeUnixNano: nanoseconds(span.start_ms),
    endTimeUnixNano: nanoseconds(span.end_ms),
    attributes: attributesOf(span.attributes),
    status: span.is_error ? { code: ERROR } : {},
  };
}

function attributesOf(facts: Readonly<Record<string, string | number>>): object[] {
  return Object.entries(facts).map(([key, value]) => ({
    key,
    value: typeof value === 'string' ? { stringValue: value } : { intValue: String(Math.round(value)) },
  }));
}

const nanoseconds = (ms: number): string => String(BigInt(Math.round(ms * 1000)) * 1000n);
