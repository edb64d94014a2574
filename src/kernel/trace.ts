import { randomBytes } from 'node:crypto';
import { forRequest, type RequestScope } from './request-scope.ts';

/** One piece of a request's work, as OpenTelemetry has it. */
export interface Span {
  /** Which component did it: the trace's service. */
  component: string;
  trace_id: string;
  span_id: string;
  parent_span_id: string | undefined;
  name: string;
  kind: 'server' | 'consumer';
  start_ms: number;
  end_ms: number;
  is_error: boolean;
  attributes: Readonly<Record<string, string | number>>;
}

/** Where in a trace something is done: the parts of W3C's `traceparent`. */
export interface TracePoint {
  trace_id: string;
  span_id: string;
}

let sink: ((span: Span) => void) | undefined;

/** Whether spans are wanted at all; while they are not, this look is all that they cost. */
export function isTracing(): boolean {
  return sink !== undefined;
}

/** From now on spans go there. As the request's scope, this is ambient: who makes a span knows nothing of its reader. */
export function traceTo(take: (span: Span) => void): Disposable {
  sink = take;
  return {
    [Symbol.dispose]: () => {
      if (sink === take) sink = undefined;
    },
  };
}

export function recordSpan(span: Span): void {
  sink?.(span);
}

/** Undefined for what is none, and for a trace that its beginner does not want recorded. Source: www.w3.org/TR/trace-context. */
export function readTraceparent(text: string | undefined): TracePoint | undefined {
  const parts = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(text ?? '');
  if (parts?.[1] === undefined || parts[2] === undefined) return undefined;
  return (Number.parseInt(parts[3] ?? '0', 16) & 1) === 1 ? { trace_id: parts[1], span_id: parts[2] } : undefined;
}

export function traceparentOf({ trace_id, span_id }: TracePoint): string {
  return `00-${trace_id}-${span_id}-01`;
}

/** A point of its own below the one that is given. */
export function beginSpan(parent: TracePoint): TracePoint {
  return { trace_id: parent.trace_id, span_id: randomBytes(8).toString('hex') };
}

/** Does a part of a request's work for that request, and while requests are traced as a span of its own. */
export async function inSpan<T>(
  scope: RequestScope | undefined,
  about: Pick<Span, 'component' | 'name' | 'kind' | 'attributes'>,
  work: () => Promise<T>,
): Promise<T> {
  const parent = isTracing() ? readTraceparent(scope?.traceparent) : undefined;
  if (!scope || !parent) return await forRequest(scope, work);
  const own = beginSpan(parent);
  const start_ms = Date.now();
  let is_error = true;
  try {
    const result = await forRequest({ ...scope, traceparent: traceparentOf(own) }, work);
    is_error = false;
    return result;
  } finally {
    const attributes = { ...about.attributes, request_id: scope.request_id };
    recordSpan({
      ...about,
      ...own,
      attributes,
      parent_span_id: parent.span_id,
      start_ms,
      end_ms: Date.now(),
      is_error,
    });
  }
}
