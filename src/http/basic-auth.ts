import { createHash, timingSafeEqual } from 'node:crypto';

export interface Credentials {
  user: string;
  password: string;
}

/** The user and password of an `Authorization: Basic` header; undefined when it is absent or malformed. */
export function readBasicAuth(header: string | undefined): Credentials | undefined {
  const match = /^basic +([A-Za-z0-9+/=_-]+)$/i.exec(header ?? '');
  if (!match?.[1]) return undefined;
  const text = Buffer.from(match[1], 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

export function basicAuthHeader({ user, password }: Credentials): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** Whether the header proves these credentials; takes the same time whatever is wrong. */
export function isAuthorized(header: string | undefined, expected: Credentials): boolean {
  const given = readBasicAuth(header) ?? { user: '', password: '' };
  return isSame(given.user, expected.user) && isSame(given.password, expected.password);
}

/** Compares two secrets in a time that tells nothing of them. */
export function isSame(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
