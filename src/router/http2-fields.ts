import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';

const CONNECTION_FIELDS = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** HTTP/2 fields as lines of HTTP/1.1, pseudo fields and those of one connection left out. */
export function linesOf(headers: IncomingHttpHeaders): string {
  let lines = '';
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(':') || value === undefined || CONNECTION_FIELDS.has(name)) continue;
    // Cookie crumbs are one field in HTTP/1.1 (RFC 9113 8.2.3).
    if (name === 'cookie') lines += `cookie: ${Array.isArray(value) ? value.join('; ') : value}\r\n`;
    else for (const one of Array.isArray(value) ? value : [value]) lines += `${name}: ${one}\r\n`;
  }
  return lines;
}

/** Lines of HTTP/1.1 as HTTP/2 fields. */
export function fieldsOf(lines: string): OutgoingHttpHeaders {
  const fields: Record<string, string | string[]> = {};
  for (const line of lines.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon < 1) continue;
    const name = line.slice(0, colon).toLowerCase();
    if (CONNECTION_FIELDS.has(name)) continue;
    const value = line.slice(colon + 1).trim();
    const before = fields[name];
    // A field that may stand once only keeps its first value; Node refuses to send it twice.
    if (before === undefined || SINGLE.has(name)) fields[name] = before ?? value;
    else fields[name] = [...(Array.isArray(before) ? before : [before]), value];
  }
  return fields;
}

const SINGLE = new Set([
  'content-length',
  'content-type',
  'date',
  'etag',
  'location',
  'last-modified',
  'expires',
  'age',
  'retry-after',
  'server',
  'content-encoding',
  'content-range',
]);
