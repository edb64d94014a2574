import { createPrivateKey, createPublicKey, generateKeyPair, randomBytes, sign, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { claimsSignedBy, readJwt } from '#http/jwt.ts';
import type { Clock } from '#kernel/clock.ts';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { SigningKeyRecord } from '../tables.ts';
import type { KeyStore } from './store.ts';

const makePair = promisify(generateKeyPair);
const signBytes = promisify(sign);

/** As UAA gives a public key in `/token_key` and `/token_keys`. */
export interface PublicJwk {
  kty: 'RSA';
  alg: 'RS256';
  use: 'sig';
  kid: string;
  n: string;
  e: string;
  value: string;
}

interface Key {
  kid: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
  jwk: PublicJwk;
  /** The protected header of its tokens, encoded once. */
  header: string;
  signs_from_ms: number;
}

export interface KeyRingOptions {
  store: KeyStore;
  clock: Clock;
  log: Log;
  /** `jku` of the tokens: where their key is found. */
  jku: string;
  rotation_ms: number;
  /** A superseded key is published for so long: no token that it signed lives longer. */
  retirement_ms: number;
}

const RELOAD_MS = 5_000;
/** A new key is published so long before it signs: all UAAs have read it by then, and no verifier asks in vain. */
const LEAD_MS = 20_000;

/** The RS256 key pairs that all UAAs of one database share: the newest signs, and each verifies until its tokens are over. */
export class KeyRing implements AsyncDisposable {
  readonly #options: KeyRingOptions;
  #keys: readonly Key[] = [];
  #timer: Disposable | undefined;

  private constructor(options: KeyRingOptions) {
    this.#options = options;
  }

  static async open(options: KeyRingOptions): Promise<KeyRing> {
    const ring = new KeyRing(options);
    await ring.refresh();
    ring.#timer = options.clock.every(RELOAD_MS, async () => {
      try {
        await ring.refresh();
      } catch (error) {
        // With keys at hand tokens go on; the database tells its own story elsewhere.
        options.log.warn({ error: describeError(error) }, 'signing keys not read');
      }
    });
    return ring;
  }

  /** Makes a key when one is due, drops those that no token can need, and reads what other UAAs did. */
  async refresh(): Promise<void> {
    const { store, clock, log, rotation_ms } = this.#options;
    let records = await store.list();
    const isDue = (newest: SigningKeyRecord | undefined): boolean =>
      newest === undefined || newest.signs_from.getTime() + rotation_ms <= clock.now();
    if (isDue(records[0]) && (await store.addWhenDue(isDue, async () => await this.#make(records.length > 0)))) {
      log.info({}, 'signing key made');
      records = await store.list();
    } else if (records.length === 0) {
      records = await store.list();
    }
    const retired = records.slice(1).filter((_, index) => {
      const successor = records[index];
      return successor !== undefined && successor.signs_from.getTime() + this.#options.retirement_ms < clock.now();
    });
    await store.delete(retired.map((record) => record.kid));
    const known = new Map(this.#keys.map((key) => [key.kid, key]));
    this.#keys = records
      .filter((record) => !retired.includes(record))
      .map((record) => known.get(record.kid) ?? load(record, this.#options.jku));
  }

  /** The one that signs first, then the others. */
  publicKeys(): PublicJwk[] {
    const current = this.#current();
    return [current, ...this.#keys.filter((key) => key !== current)].map((key) => key.jwk);
  }

  /** A JWT (RFC 7519) of these claims in the compact form, signed by RS256. */
  async sign(claims: object): Promise<string> {
    const key = this.#current();
    const input = `${key.header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
    const signature = await signBytes('RSA-SHA256', Buffer.from(input, 'latin1'), key.privateKey);
    return `${input}.${signature.toString('base64url')}`;
  }

  /**
   * The claims of a JWT that one of our keys signed; undefined for anything else. The header only picks the key: whatever
   * algorithm, key or address it names, the signature is checked by RS256 with a key of ours. Expiry is the caller's to judge.
   */
  verify(token: string): Record<string, unknown> | undefined {
    const jwt = readJwt(token);
    const key = jwt && this.#keys.find((candidate) => candidate.kid === jwt.kid);
    return key && claimsSignedBy(key.publicKey, jwt);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.[Symbol.dispose]();
  }

  #current(): Key {
    const now = this.#options.clock.now();
    const current = this.#keys.find((key) => key.signs_from_ms <= now) ?? this.#keys.at(-1);
    if (!current) throw new AppError('no_signing_key', 'there is no signing key');
    return current;
  }

  async #make(hasOthers: boolean): Promise<{ kid: string; private_key: string; signs_from: Date }> {
    const { privateKey } = await makePair('rsa', { modulusLength: 2048 });
    return {
      kid: `key-${randomBytes(6).toString('hex')}`,
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      signs_from: new Date(this.#options.clock.now() + (hasOthers ? LEAD_MS : 0)),
    };
  }
}

function load(record: SigningKeyRecord, jku: string): Key {
  const privateKey = createPrivateKey(record.private_key);
  const publicKey = createPublicKey(privateKey);
  const { n = '', e = '' } = publicKey.export({ format: 'jwk' });
  const { kid } = record;
  return {
    kid,
    privateKey,
    publicKey,
    jwk: {
      kty: 'RSA',
      alg: 'RS256',
      use: 'sig',
      kid,
      n,
      e,
      value: publicKey.export({ type: 'spki', format: 'pem' }),
    },
    header: Buffer.from(JSON.stringify({ alg: 'RS256', jku, kid, typ: 'JWT' })).toString('base64url'),
    signs_from_ms: record.signs_from.getTime(),
  };
}
