import { UNDERSCORE } from './bytes.ts';

/** Fields that the router itself reads, replaces or drops; every other field passes as it came. */
export const Field = {
  other: 0,
  host: 1,
  connection: 2,
  contentLength: 3,
  transferEncoding: 4,
  upgrade: 5,
  expect: 6,
  cookie: 7,
  userAgent: 8,
  referer: 9,
  forwardedFor: 10,
  forwardedProto: 11,
  requestStart: 12,
  appInstance: 13,
  processInstance: 14,
  proxySignature: 15,
  clientCert: 16,
  vcapTrace: 17,
  setCookie: 18,
  vcapRequestId: 19,
  traceparent: 20,
  tracestate: 21,
  b3: 22,
  b3TraceId: 23,
  b3SpanId: 24,
  idempotencyKey: 25,
  te: 26,
  proxyMetadata: 27,
  forwardedUrl: 28,
  trailer: 29,
  /** Belongs to one hop, or is only ever written by the router: never forwarded. */
  dropped: 30,
} as const;
export type Field = (typeof Field)[keyof typeof Field];

const NAMES: Record<string, Field> = {
  host: Field.host,
  connection: Field.connection,
  'content-length': Field.contentLength,
  'transfer-encoding': Field.transferEncoding,
  upgrade: Field.upgrade,
  expect: Field.expect,
  cookie: Field.cookie,
  'user-agent': Field.userAgent,
  referer: Field.referer,
  'x-forwarded-for': Field.forwardedFor,
  'x-forwarded-proto': Field.forwardedProto,
  'x-request-start': Field.requestStart,
  'x-cf-app-instance': Field.appInstance,
  'x-cf-process-instance': Field.processInstance,
  'x-cf-proxy-signature': Field.proxySignature,
  'x-cf-proxy-metadata': Field.proxyMetadata,
  'x-cf-forwarded-url': Field.forwardedUrl,
  'x-forwarded-client-cert': Field.clientCert,
  'x-vcap-trace': Field.vcapTrace,
  'set-cookie': Field.setCookie,
  'x-vcap-request-id': Field.vcapRequestId,
  traceparent: Field.traceparent,
  tracestate: Field.tracestate,
  b3: Field.b3,
  'x-b3-traceid': Field.b3TraceId,
  'x-b3-spanid': Field.b3SpanId,
  'idempotency-key': Field.idempotencyKey,
  te: Field.te,
  trailer: Field.trailer,
  'keep-alive': Field.dropped,
  'proxy-connection': Field.dropped,
  'proxy-authenticate': Field.dropped,
  'proxy-authorization': Field.dropped,
  'http2-settings': Field.dropped,
  'x-cf-applicationid': Field.dropped,
  'x-cf-instanceid': Field.dropped,
  'x-cf-instanceindex': Field.dropped,
};

interface KnownName {
  lower: string;
  first: number;
  field: Field;
}

const BY_LENGTH: (readonly KnownName[])[] = Array.from({ length: 32 }, (_, length) =>
  Object.entries(NAMES)
    .filter(([name]) => name.length === length)
    .map(([lower, field]) => ({ lower, first: lower.charCodeAt(0), field })),
);

/** Which known field the name at [start, end) of `text` is, in any case. The name has been checked to be a token. */
export function fieldAt(text: string, start: number, end: number): Field {
  const length = end - start;
  const candidates = BY_LENGTH[length];
  if (candidates === undefined) return Field.other;
  const first = text.charCodeAt(start) | 0x20;
  for (let c = 0; c < candidates.length; c++) {
    const candidate = candidates[c];
    if (candidate === undefined || candidate.first !== first) continue;
    let i = 1;
    while (i < length && (text.charCodeAt(start + i) | 0x20) === candidate.lower.charCodeAt(i)) i++;
    if (i === length) return candidate.field;
  }
  return Field.other;
}

/**
 * Whether a name with underscores would be one of ours if they were hyphens. Servers that put fields into environment
 * variables cannot tell the two apart, so that such a field could pass for one that the router vouches for.
 */
export function isConfusable(text: string, start: number, end: number): boolean {
  let hasUnderscore = false;
  for (let i = start; i < end && !hasUnderscore; i++) hasUnderscore = text.charCodeAt(i) === UNDERSCORE;
  if (!hasUnderscore) return false;
  const name = text.slice(start, end).replaceAll('_', '-').toLowerCase();
  return name in NAMES || /^x-(cf|vcap|forwarded|real|b3)-/.test(name);
}

/** Fields that decide framing, routing or trust: a sender must not put them in a trailer or have them removed by Connection. */
export function isEndToEnd(lowerName: string): boolean {
  return (
    /^x-(cf|vcap|forwarded|request|real|b3)-/.test(lowerName) ||
    /^(host|content-length|transfer-encoding|cookie|set-cookie|authorization|content-type|content-encoding|content-range|trailer|location|cache-control|expect|traceparent|tracestate|b3)$/.test(
      lowerName,
    )
  );
}
