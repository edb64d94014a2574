import { randomBytes } from 'node:crypto';
import { readTraceparent, recordSpan } from '#kernel/trace.ts';
import type { RouterConfig } from './config.ts';
import type { Exchange } from './exchange.ts';
import type { RequestHead } from './request-head.ts';

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * Field lines that carry a trace on, or begin one whose id is the request's own: W3C trace context and Zipkin's B3. What a client
 * says of B3 passes as it came; a traceparent gets a span of ours.
 */
export function traceLines(head: RequestHead, requestId: string, config: RouterConfig['tracing']): string {
  if (!config.has_b3 && !config.has_w3c) return '';
  const traceId =
    requestId.slice(0, 8) +
    requestId.slice(9, 13) +
    requestId.slice(14, 18) +
    requestId.slice(19, 23) +
    requestId.slice(24);
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
  const name = own.tenant === '' ? 'gorouter' : `${own.tenant}@gorouter`;
  if (head.traceparent === '' || !TRACEPARENT.test(head.traceparent)) {
    const span = own.traceId.slice(16);
    return `traceparent: 00-${own.traceId}-${span}-01\r\ntracestate: ${name}=${span}\r\n`;
  }
  const span = randomBytes(8).toString('hex');
  const parent = `${head.traceparent.slice(0, 36)}${span}${head.traceparent.slice(52)}`;
  const others = head.tracestate.split(',').map((entry) => entry.trim());
  const kept = others.filter((entry) => entry !== '' && !entry.startsWith(`${name}=`));
  return `traceparent: ${parent}\r\ntracestate: ${[`${name}=${span}`, ...kept].slice(0, 32).join(',')}\r\n`;
}

/** The request as a span: the one that the endpoint was told to be below. */
export function recordExchange(exchange: Exchange): void {
  const { head, endpoint, startedAt_ms, status } = exchange;
  const told = /^traceparent: (.*)\r$/m.exec(exchange.extraLines)?.[1];
  const own = readTraceparent(told);
  if (!own) return;
  const path = head.target.split('?')[0] ?? '';
  recordSpan({
    ...own,
    component: 'router',
    parent_span_id: readTraceparent(head.traceparent)?.span_id,
    name: `${head.method} ${head.host}`,
    kind: 'server',
    start_ms: startedAt_ms,
    end_ms: startedAt_ms + exchange.took_ms,
    is_error: status >= 500 || status === 0,
    attributes: {
      'http.request.method': head.method,
      'server.address': head.host,
      'url.path': path,
      'http.response.status_code': status,
      request_id: exchange.requestId,
      ...(endpoint !== undefined && { 'network.peer.address': endpoint.address }),
      ...(endpoint !== undefined && endpoint.app !== '' && { 'cloudfoundry.app.id': endpoint.app }),
    },
  });
}
