/**
 * The head of an HTTP/1.x request, read strictly by RFC 9112: what two servers could read in two ways is refused. The text
 * is latin1, one character a byte. Runs of field lines that pass unchanged are kept as slices of it, not copied.
 */
import { COLON, CR, IS_FIELD, IS_TARGET, IS_TOKEN, LF, SP, TAB } from './bytes.ts';
import { Field, fieldAt, isConfusable, isEndToEnd } from './header-names.ts';
import { readAuthority } from './authority.ts';

export const INCOMPLETE = 0;
export const MALFORMED = -1;

const MAX_METHOD_LENGTH = 32;
/** RFC 9112 2.2 asks to forgive an empty line before a request; more than a few is abuse. */
const MAX_LEADING_BYTES = 8;
const MAX_CONTENT_LENGTH_DIGITS = 15;

export class RequestHead {
  method = '';
  /** Origin form (or `*`), whatever form was sent. */
  target = '/';
  isHttp10 = false;
  /** Lower case, without port; what routes are looked up by. Empty when the request named none. */
  host = '';
  /** As it is forwarded. */
  hostLine = '';
  contentLength = -1;
  isChunked = false;
  mayKeepAlive = true;
  /** The protocol of a proper upgrade request, else empty. */
  upgrade = '';
  expectsContinue = false;
  hasIdempotencyKey = false;
  acceptsTrailers = false;
  cookie = '';
  userAgent = '';
  referer = '';
  forwardedFor = '';
  forwardedProto = '';
  requestStart = '';
  appInstance = '';
  processInstance = '';
  proxySignature = '';
  proxyMetadata = '';
  forwardedUrl = '';
  clientCert = '';
  vcapTrace = '';
  traceparent = '';
  tracestate = '';
  b3 = '';
  b3TraceId = '';
  b3SpanId = '';
  /** Field lines that are forwarded as they came, each with its line end. */
  kept = '';
  /** When reading failed: the status to answer with and why. */
  faultStatus = 400;
  fault = '';

  get hasBody(): boolean {
    return this.isChunked || this.contentLength > 0;
  }
}

/**
 * Reads a head that starts at `from`. Returns the offset just after it, INCOMPLETE when the text ends before it, or MALFORMED
 * with `fault` and `faultStatus` set.
 */
export function readRequestHead(text: string, from: number, head: RequestHead): number {
  const length = text.length;
  let i = from;
  while (i < length && text.charCodeAt(i) === CR) {
    if (i + 1 >= length) return INCOMPLETE;
    if (text.charCodeAt(i + 1) !== LF) return fail(head, 'bare CR');
    i += 2;
    if (i - from > MAX_LEADING_BYTES) return fail(head, 'empty lines before the request');
  }
  const methodStart = i;
  while (i < length && IS_TOKEN[text.charCodeAt(i)] === 1) i++;
  if (i - methodStart > MAX_METHOD_LENGTH) return fail(head, 'method too long');
  if (i >= length) return INCOMPLETE;
  if (text.charCodeAt(i) !== SP || i === methodStart) return fail(head, 'malformed method');
  head.method = text.slice(methodStart, i);
  const targetStart = ++i;
  while (i < length && IS_TARGET[text.charCodeAt(i)] === 1) i++;
  if (i >= length) return INCOMPLETE;
  if (text.charCodeAt(i) !== SP || i === targetStart) return fail(head, 'malformed request target');
  head.target = text.slice(targetStart, i);
  i++;
  if (i + 10 > length) return 'HTTP/1.1\r\n'.startsWith(text.slice(i, i + 7)) ? INCOMPLETE : failVersion(head, text, i);
  if (!text.startsWith('HTTP/1.', i)) return failVersion(head, text, i);
  const minor = text.charCodeAt(i + 7);
  if (minor === 48) head.isHttp10 = true;
  else if (minor !== 49) return failVersion(head, text, i);
  if (text.charCodeAt(i + 8) !== CR || text.charCodeAt(i + 9) !== LF) return fail(head, 'malformed request line');
  return readFields(text, i + 10, head);
}

function failVersion(head: RequestHead, text: string, at: number): number {
  const isVersion = /^HTTP\/\d\.\d\r/.test(text.slice(at, at + 9));
  return fail(head, 'unsupported protocol version', isVersion ? 505 : 400);
}

function fail(head: RequestHead, fault: string, status = 400): number {
  head.fault = fault;
  head.faultStatus = status;
  return MALFORMED;
}

function readFields(text: string, from: number, head: RequestHead): number {
  const length = text.length;
  let i = from;
  let runStart = from;
  let hosts = 0;
  let connection = '';
  let upgrade = '';
  let transferEncodings = 0;
  let framing = '';
  for (;;) {
    const lineStart = i;
    if (i >= length) return INCOMPLETE;
    if (text.charCodeAt(i) === CR) {
      if (i + 1 >= length) return INCOMPLETE;
      if (text.charCodeAt(i + 1) !== LF) return fail(head, 'bare CR');
      if (i > runStart) head.kept += text.slice(runStart, i);
      i += 2;
      break;
    }
    while (i < length && IS_TOKEN[text.charCodeAt(i)] === 1) i++;
    if (i >= length) return INCOMPLETE;
    if (text.charCodeAt(i) !== COLON || i === lineStart) return fail(head, 'malformed field name');
    const nameEnd = i++;
    let first = text.charCodeAt(i);
    while (i < length && (first === SP || first === TAB)) first = text.charCodeAt(++i);
    const valueStart = i;
    while (i < length && IS_FIELD[text.charCodeAt(i)] === 1) i++;
    if (i + 1 >= length)
      return i < length && text.charCodeAt(i) !== CR ? fail(head, 'malformed field value') : INCOMPLETE;
    if (text.charCodeAt(i) !== CR || text.charCodeAt(i + 1) !== LF) return fail(head, 'malformed field value');
    let valueEnd = i;
    i += 2;
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd--;

    const field = fieldAt(text, lineStart, nameEnd);
    let isKept = true;
    switch (field) {
      case Field.other:
        isKept = !isConfusable(text, lineStart, nameEnd);
        break;
      case Field.host:
        if (++hosts > 1) return fail(head, 'more than one Host');
        head.hostLine = text.slice(valueStart, valueEnd);
        isKept = false;
        break;
      case Field.connection:
        connection = joined(connection, text.slice(valueStart, valueEnd));
        isKept = false;
        break;
      case Field.contentLength:
        if (head.contentLength >= 0) return fail(head, 'more than one Content-Length');
        head.contentLength = readLength(text, valueStart, valueEnd);
        if (head.contentLength < 0) return fail(head, 'malformed Content-Length');
        isKept = isPlain(text, { nameEnd, valueStart, valueEnd, lineEnd: i });
        if (!isKept) framing = `Content-Length: ${head.contentLength}\r\n`;
        break;
      case Field.transferEncoding:
        if (++transferEncodings > 1) return fail(head, 'more than one Transfer-Encoding');
        if (text.slice(valueStart, valueEnd).toLowerCase() !== 'chunked') {
          const isFinallyChunked = /,[ \t]*chunked$/i.test(text.slice(valueStart, valueEnd));
          return fail(head, 'unsupported Transfer-Encoding', isFinallyChunked ? 501 : 400);
        }
        head.isChunked = true;
        isKept = isPlain(text, { nameEnd, valueStart, valueEnd, lineEnd: i });
        if (!isKept) framing = 'Transfer-Encoding: chunked\r\n';
        break;
      case Field.upgrade:
        upgrade = joined(upgrade, text.slice(valueStart, valueEnd));
        isKept = false;
        break;
      case Field.expect:
        head.expectsContinue = text.slice(valueStart, valueEnd).toLowerCase() === '100-continue';
        isKept = !head.isHttp10;
        break;
      case Field.cookie:
        head.cookie =
          head.cookie === '' ? text.slice(valueStart, valueEnd) : `${head.cookie}; ${text.slice(valueStart, valueEnd)}`;
        break;
      case Field.userAgent:
        head.userAgent = text.slice(valueStart, valueEnd);
        break;
      case Field.referer:
        head.referer = text.slice(valueStart, valueEnd);
        break;
      default:
        isKept = note(head, field, text.slice(valueStart, valueEnd));
    }
    if (!isKept) {
      if (lineStart > runStart) head.kept += text.slice(runStart, lineStart);
      runStart = i;
    }
  }
  head.kept += framing;
  if (head.isChunked && head.contentLength >= 0) return fail(head, 'both Content-Length and Transfer-Encoding');
  if (head.isChunked && head.isHttp10) return fail(head, 'Transfer-Encoding in HTTP/1.0');
  if (!readAuthority(head)) return MALFORMED;
  head.mayKeepAlive = !head.isHttp10;
  if (connection !== '') applyConnection(head, connection, upgrade);
  return i;
}

/**
 * Whether a field that frames is written as everybody writes it. Odd white space is allowed around its value, but not every server
 * reads it alike: such a line is written anew.
 */
export function isPlain(
  text: string,
  line: { nameEnd: number; valueStart: number; valueEnd: number; lineEnd: number },
): boolean {
  return (
    line.valueStart === line.nameEnd + 2 &&
    text.charCodeAt(line.nameEnd + 1) === SP &&
    line.valueEnd === line.lineEnd - 2
  );
}

/** Takes in a field of less common use; returns whether its line is forwarded as it came. */
function note(head: RequestHead, field: Field, value: string): boolean {
  switch (field) {
    case Field.forwardedFor:
      head.forwardedFor = joined(head.forwardedFor, value);
      return false;
    case Field.forwardedProto:
      if (head.forwardedProto === '') head.forwardedProto = value;
      return false;
    case Field.requestStart:
      if (head.requestStart !== '') return false;
      head.requestStart = value;
      return true;
    case Field.appInstance:
      head.appInstance = value;
      return false;
    case Field.processInstance:
      head.processInstance = value;
      return false;
    case Field.proxySignature:
      head.proxySignature = value;
      return false;
    case Field.proxyMetadata:
      head.proxyMetadata = value;
      return false;
    case Field.forwardedUrl:
      head.forwardedUrl = value;
      return false;
    case Field.clientCert:
      head.clientCert = joined(head.clientCert, value);
      return false;
    case Field.vcapTrace:
      head.vcapTrace = value;
      return true;
    case Field.traceparent:
      head.traceparent = value;
      return false;
    case Field.tracestate:
      head.tracestate = joined(head.tracestate, value);
      return false;
    case Field.b3:
      head.b3 = value;
      return true;
    case Field.b3TraceId:
      head.b3TraceId = value;
      return true;
    case Field.b3SpanId:
      head.b3SpanId = value;
      return true;
    case Field.idempotencyKey:
      head.hasIdempotencyKey = true;
      return true;
    case Field.te:
      head.acceptsTrailers = /(^|[\s,])trailers($|[\s,])/i.test(value);
      return false;
    case Field.vcapRequestId:
    case Field.dropped:
      return false;
    default:
      return true;
  }
}

function applyConnection(head: RequestHead, connection: string, upgrade: string): void {
  let wantsUpgrade = false;
  let nominated: Set<string> | undefined;
  for (const part of connection.toLowerCase().split(',')) {
    const option = part.trim();
    if (option === 'close') head.mayKeepAlive = false;
    else if (option === 'keep-alive') head.mayKeepAlive ||= head.isHttp10 && !/\bclose\b/i.test(connection);
    else if (option === 'upgrade') wantsUpgrade = true;
    else if (option !== '' && option !== 'te' && !isEndToEnd(option)) (nominated ??= new Set()).add(option);
  }
  if (nominated !== undefined) head.kept = withoutFields(head.kept, nominated);
  // h2c would let a sender speak past the router's reading; a body before the switch is what nobody sends.
  const isTunnel = wantsUpgrade && upgrade !== '' && !/\bh2c\b/i.test(upgrade) && !head.hasBody && !head.isHttp10;
  if (isTunnel) head.upgrade = upgrade;
}

export function withoutFields(lines: string, lowerNames: ReadonlySet<string>): string {
  let kept = '';
  for (const line of lines.split('\r\n')) {
    if (line === '') continue;
    if (!lowerNames.has(line.slice(0, line.indexOf(':')).toLowerCase())) kept += `${line}\r\n`;
  }
  return kept;
}

function isBlank(byte: number): boolean {
  return byte === SP || byte === TAB;
}

function joined(before: string, value: string): string {
  return before === '' ? value : `${before}, ${value}`;
}

/** Digits alone, and so few of them that the number is exact; -1 for anything else. */
export function readLength(text: string, start: number, end: number): number {
  if (end === start || end - start > MAX_CONTENT_LENGTH_DIGITS) return -1;
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}
