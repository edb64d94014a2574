import { argon2, hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(argon2);

/** OWASP's first recommendation for argon2id: 19 MiB, two passes, one lane. */
const COST = { memory: 19_456, passes: 2, parallelism: 1 } as const;
const TAG_BYTES = 32;

/** Hashes a password or a client's secret with argon2id; the result is in the PHC string format. */
export async function hashPassword(password: string): Promise<string> {
  const nonce = randomBytes(16);
  const tag = await derive('argon2id', { message: password, nonce, tagLength: TAG_BYTES, ...COST });
  const encode = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
  return `$argon2id$v=19$m=${COST.memory},t=${COST.passes},p=${COST.parallelism}$${encode(nonce)}$${encode(tag)}`;
}

const FORMAT = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;
// What a password is compared with when there is no account: it costs as much and nothing matches it.
const NOBODY = `$argon2id$v=19$m=${COST.memory},t=${COST.passes},p=${COST.parallelism}$AAAAAAAAAAAAAAAAAAAAAA$${'A'.repeat(43)}`;

/** Whether `password` made `hash`. An absent hash takes as long as any other and never matches. */
export async function verifyPassword(password: string, hash: string | null | undefined): Promise<boolean> {
  const match = FORMAT.exec(hash ?? NOBODY);
  if (!match) return false;
  const [, memory, passes, parallelism, nonce = '', tag = ''] = match;
  const expected = Buffer.from(tag, 'base64');
  const actual = await derive('argon2id', {
    message: password,
    nonce: Buffer.from(nonce, 'base64'),
    tagLength: expected.length,
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
  });
  return timingSafeEqual(actual, expected) && hash !== null && hash !== undefined;
}

/**
 * Checks client secrets, remembering which pairs matched: machines send the same secret with each request, and argon2id is
 * made to be slow. Only a keyed digest of a secret that was right is kept, bound to the hash that it matched.
 */
export class SecretChecker {
  readonly #key = randomBytes(32).toString('base64');
  readonly #known = new Set<string>();
  readonly #limit: number;

  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  async matches(secret: string, hashes: readonly string[]): Promise<boolean> {
    // The key at both ends makes a keyed digest in one call; an Hmac object costs several times as much.
    const digests = hashes.map((kept) => hash('sha256', `${this.#key}${kept}\0${secret}${this.#key}`, 'base64'));
    if (digests.some((digest) => this.#known.has(digest))) return true;
    if (hashes.length === 0) await verifyPassword(secret, undefined);
    for (const [index, kept] of hashes.entries()) {
      if (!(await verifyPassword(secret, kept))) continue;
      const [oldest] = this.#known;
      if (this.#known.size >= this.#limit && oldest !== undefined) this.#known.delete(oldest);
      this.#known.add(digests[index] ?? '');
      return true;
    }
    return false;
  }
}
