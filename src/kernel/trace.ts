import { randomBytes } from 'node:crypto';

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
