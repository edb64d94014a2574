import { randomBytes } from 'node:crypto';
import type { RouterConfig } from './config.ts';
import type { RequestHead } from './request-head.ts';

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * Field lines that carry a trace on, or begin one whose id is the request's own: W3C trace context and Zipkin's B3. What a client
 * says of B3 passes as it came; a traceparent gets a span of ours.
 */
export function traceLines(head: RequestHead, requestId: string, config: RouterConfig['tracing']): string {
  if (!config.has_b3 && !config.has_w3c) return '';
  const traceId = requestId.replaceAll('-', '');
  const span = traceId.slice(16);
  let lines = '';
  if (config.has_b3 && head.b3TraceId === '' && head.b3SpanId === '') {
    lines += `X-B3-TraceId: ${traceId}\r\nX-B3-SpanId: ${span}\r\n`;
    if (head.b3 === '') lines += `b3: ${traceId}-${span}\r\n`;
  }
  if (config.has_w3c) lines += w3cLines(head, { traceId, tenant: config.w3c_tenant_id });
  return lines;
}

function w3cLines(head: RequestHead, own: { traceId: string; tenant: string }): string {
  const isContinued = TRACEPARENT.test(head.traceparent);
  const span = isContinued ? randomBytes(8).toString('hex') : own.traceId.slice(16);
  const parent = isContinued
    ? `${head.traceparent.slice(0, 36)}${span}${head.traceparent.slice(52)}`
    : `00-${own.traceId}-${span}-01`;
  const name = own.tenant === '' ? 'gorouter' : `${own.tenant}@gorouter`;
  const others = isContinued
    ? head.tracestate
        .split(',')
        .map((entry) => entry.trim())
        .filter((entry) => entry !== '' && !entry.startsWith(`${name}=`))
    : [];
  return `traceparent: ${parent}\r\ntracestate: ${[`${name}=${span}`, ...others].slice(0, 32).join(',')}\r\n`;
}
