import { COLON, IS_HOST, IS_IPV6, isDigit } from './bytes.ts';
import type { RequestHead } from './request-head.ts';

const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const SLASH = 47;
const MAX_HOST_LENGTH = 255;

/**
 * Settles which host a request is for and brings its target to origin form. The absolute form wins over Host as RFC 9112 3.2.2
 * says, but the two must not disagree. Returns false with the fault set when the request is to be refused. A missing Host
 * leaves `host` empty.
 */
export function readAuthority(head: RequestHead): boolean {
  const target = head.target;
  if (head.method === 'CONNECT') return fail(head, 'CONNECT is not served');
  if (target.charCodeAt(0) !== SLASH) {
    if (target === '*') {
      if (head.method !== 'OPTIONS') return fail(head, 'malformed request target');
    } else if (!fromAbsoluteForm(head)) {
      return fail(head, 'malformed request target');
    }
  }
  if (head.hostLine === '') return true;
  const host = hostOf(head.hostLine);
  if (host === '') return fail(head, 'malformed Host');
  head.host = host;
  return true;
}

function fail(head: RequestHead, fault: string): false {
  head.fault = fault;
  head.faultStatus = 400;
  return false;
}

function fromAbsoluteForm(head: RequestHead): boolean {
  const match = /^https?:\/\/([^/?]+)([/?].*)?$/i.exec(head.target);
  const authority = match?.[1];
  if (authority === undefined || hostOf(authority) === '') return false;
  if (head.hostLine !== '' && head.hostLine.toLowerCase() !== authority.toLowerCase()) return false;
  head.hostLine = authority;
  const rest = match?.[2] ?? '/';
  head.target = rest.startsWith('?') ? `/${rest}` : rest;
  return true;
}

/** The host of `host[:port]` in lower case; empty when it is none. */
export function hostOf(authority: string): string {
  const length = authority.length;
  if (length === 0 || length > MAX_HOST_LENGTH) return '';
  let end = 0;
  let hasUpperCase = false;
  if (authority.charCodeAt(0) === OPEN_BRACKET) {
    end = 1;
    while (end < length && IS_IPV6[authority.charCodeAt(end)] === 1) end++;
    if (end < 4 || end >= length || authority.charCodeAt(end) !== CLOSE_BRACKET) return '';
    end++;
    hasUpperCase = true;
  } else {
    for (; end < length; end++) {
      const byte = authority.charCodeAt(end);
      if (byte > 255 || IS_HOST[byte] !== 1) break;
      if (byte >= 65 && byte <= 90) hasUpperCase = true;
    }
    if (end === 0) return '';
  }
  if (end < length && !isPort(authority, end)) return '';
  const host = end === length ? authority : authority.slice(0, end);
  return hasUpperCase ? host.toLowerCase() : host;
}

function isPort(authority: string, at: number): boolean {
  if (authority.charCodeAt(at) !== COLON || authority.length - at > 6) return false;
  for (let i = at + 1; i < authority.length; i++) if (!isDigit(authority.charCodeAt(i))) return false;
  return true;
}
