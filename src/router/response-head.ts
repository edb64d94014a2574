/** The head of an HTTP/1.x response from a backend, read as strictly as a request's. Text is latin1, one character a byte. */
import { COLON, CR, IS_FIELD, IS_TOKEN, LF, SP, TAB, isDigit } from './bytes.ts';
import { Field, fieldAt, isEndToEnd } from './header-names.ts';
import { INCOMPLETE, isPlain, MALFORMED, readLength, withoutFields } from './request-head.ts';

export class ResponseHead {
  status = 0;
  isHttp10 = false;
  /** From the status code to the end of its line, without the line end: `200 OK`. */
  statusText = '';
  contentLength = -1;
  isChunked = false;
  mayKeepAlive = true;
  upgrade = '';
  /** Values of Set-Cookie, when there are any; they are also in `kept`. */
  setCookies: string[] | undefined;
  hasRequestId = false;
  /** Known to have no body though no field says so. */
  isBodyless = false;
  /** Field lines that are passed on as they came, each with its line end; Content-Length and Transfer-Encoding are among them. */
  kept = '';
  fault = '';
}

/** As readRequestHead: the offset after the head, INCOMPLETE, or MALFORMED with `fault`. */
export function readResponseHead(text: string, from: number, head: ResponseHead): number {
  const length = text.length;
  if (length - from < 13)
    return 'HTTP/1.1 '.startsWith(text.slice(from, from + 7)) || text.startsWith('HTTP/1.', from)
      ? INCOMPLETE
      : fail(head, 'not HTTP/1.x');
  if (!text.startsWith('HTTP/1.', from)) return fail(head, 'not HTTP/1.x');
  const minor = text.charCodeAt(from + 7);
  if (minor === 48) head.isHttp10 = true;
  else if (minor !== 49) return fail(head, 'not HTTP/1.x');
  let i = from + 9;
  const hundreds = text.charCodeAt(i);
  const tens = text.charCodeAt(i + 1);
  const ones = text.charCodeAt(i + 2);
  if (text.charCodeAt(from + 8) !== SP || !isDigit(hundreds) || !isDigit(tens) || !isDigit(ones))
    return fail(head, 'malformed status line');
  head.status = (hundreds - 48) * 100 + (tens - 48) * 10 + (ones - 48);
  if (head.status < 100) return fail(head, 'malformed status line');
  const statusStart = i;
  i += 3;
  if (text.charCodeAt(i) !== CR && text.charCodeAt(i) !== SP) return fail(head, 'malformed status line');
  while (i < length && IS_FIELD[text.charCodeAt(i)] === 1) i++;
  if (i + 1 >= length) return INCOMPLETE;
  if (text.charCodeAt(i) !== CR || text.charCodeAt(i + 1) !== LF) return fail(head, 'malformed status line');
  head.statusText = text.slice(statusStart, i);
  return readFields(text, i + 2, head);
}

function fail(head: ResponseHead, fault: string): number {
  head.fault = fault;
  return MALFORMED;
}

function readFields(text: string, from: number, head: ResponseHead): number {
  const length = text.length;
  let i = from;
  let framing = '';
  let runStart = from;
  let connection = '';
  head.mayKeepAlive = !head.isHttp10;
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
    if (i + 1 >= length) return INCOMPLETE;
    if (text.charCodeAt(i) !== CR || text.charCodeAt(i + 1) !== LF) return fail(head, 'malformed field value');
    let valueEnd = i;
    i += 2;
    while (valueEnd > valueStart && (text.charCodeAt(valueEnd - 1) === SP || text.charCodeAt(valueEnd - 1) === TAB))
      valueEnd--;

    let isKept = true;
    switch (fieldAt(text, lineStart, nameEnd)) {
      case Field.contentLength: {
        const contentLength = readLength(text, valueStart, valueEnd);
        if (contentLength < 0) return fail(head, 'malformed Content-Length');
        if (head.contentLength >= 0) return fail(head, 'more than one Content-Length');
        head.contentLength = contentLength;
        isKept = isPlain(text, { nameEnd, valueStart, valueEnd, lineEnd: i });
        if (!isKept) framing = `Content-Length: ${contentLength}\r\n`;
        break;
      }
      case Field.transferEncoding:
        if (head.isChunked || head.isHttp10 || text.slice(valueStart, valueEnd).toLowerCase() !== 'chunked') {
          return fail(head, 'unsupported Transfer-Encoding');
        }
        head.isChunked = true;
        isKept = isPlain(text, { nameEnd, valueStart, valueEnd, lineEnd: i });
        if (!isKept) framing = 'Transfer-Encoding: chunked\r\n';
        break;
      case Field.connection:
        connection =
          connection === '' ? text.slice(valueStart, valueEnd) : `${connection},${text.slice(valueStart, valueEnd)}`;
        isKept = false;
        break;
      case Field.upgrade:
        head.upgrade = text.slice(valueStart, valueEnd);
        isKept = false;
        break;
      case Field.setCookie:
        (head.setCookies ??= []).push(text.slice(valueStart, valueEnd));
        break;
      case Field.vcapRequestId:
        head.hasRequestId = true;
        break;
      case Field.dropped:
        isKept = false;
        break;
      default:
        break;
    }
    if (!isKept) {
      if (lineStart > runStart) head.kept += text.slice(runStart, lineStart);
      runStart = i;
    }
  }
  head.kept += framing;
  if (head.isChunked && head.contentLength >= 0) return fail(head, 'both Content-Length and Transfer-Encoding');
  if (connection !== '') applyConnection(head, connection);
  return i;
}

function applyConnection(head: ResponseHead, connection: string): void {
  let nominated: Set<string> | undefined;
  for (const part of connection.toLowerCase().split(',')) {
    const option = part.trim();
    if (option === 'close') head.mayKeepAlive = false;
    else if (option === 'keep-alive') head.mayKeepAlive ||= head.isHttp10;
    else if (option !== '' && option !== 'upgrade' && !isEndToEnd(option)) (nominated ??= new Set()).add(option);
  }
  if (nominated !== undefined) head.kept = withoutFields(head.kept, nominated);
}
