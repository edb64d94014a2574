import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import type { JSONWebKeySet } from 'jose';

/** A JWT that is well formed and says RS256; whether anybody we know signed it is not known yet. */
export interface UncheckedJwt {
  kid: string;
  /** What is signed: header and payload as they came. */
  input: string;
  payload: string;
  signature: string;
}

const MAX_LENGTH = 16_384;
/** RFC 7518 section 3.3 wants 2048 bits or more. */
const MIN_MODULUS_BITS = 2_048;

/**
 * Takes a JWT in the compact form apart (RFC 7519, RFC 7515 section 7.1). The header only picks the key: undefined for any
 * algorithm but RS256, for none, and for extensions that have to be understood (`crit`), since we understand none.
 */
export function readJwt(token: string): UncheckedJwt | undefined {
  if (token.length > MAX_LENGTH) return undefined;
  const match = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(token);
  if (!match) return undefined;
  const [, header = '', payload = '', signature = ''] = match;
  const parsed = parsePart(header);
  const kid = parsed?.['kid'];
  if (parsed?.['alg'] !== 'RS256' || typeof kid !== 'string' || parsed['crit'] !== undefined) return undefined;
  return { kid, input: token.slice(0, header.length + 1 + payload.length), payload, signature };
}

/**
 * The claims, when `key` signed them. In this thread: the check takes less time (26 µs) than to hand it to another one.
 */
export function claimsSignedBy(key: KeyObject, jwt: UncheckedJwt): Record<string, unknown> | undefined {
  const input = Buffer.from(jwt.input, 'latin1');
  if (!verify('RSA-SHA256', input, key, Buffer.from(jwt.signature, 'base64url'))) return undefined;
  return parsePart(jwt.payload);
}

/** The RSA keys of a JWKS (RFC 7517) by their ids; those of other kinds, uses or lengths are passed over. */
export function publicKeysOf(set: JSONWebKeySet): Map<string, KeyObject> {
  const keys = new Map<string, KeyObject>();
  for (const { kid, kty, n, e, use, alg } of set.keys) {
    if (kid === undefined || kty !== 'RSA' || n === undefined || e === undefined) continue;
    if ((use ?? 'sig') !== 'sig' || (alg ?? 'RS256') !== 'RS256') continue;
    const key = createPublicKey({ key: { kty, n, e }, format: 'jwk' });
    if ((key.asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_MODULUS_BITS) keys.set(kid, key);
  }
  return keys;
}

function parsePart(part: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
