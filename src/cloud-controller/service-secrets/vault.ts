import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { CfError } from '#contracts/cf-errors.ts';
import { AppError } from '#kernel/errors.ts';

/** A secret in the database that no key of the configuration opens. */
export class SecretUnreadable extends AppError {
  constructor(options?: ErrorOptions) {
    super('secret_unreadable', 'a secret in the database cannot be read with the keys of the configuration', options);
  }
}

interface Key {
  id: string;
  key: Buffer;
}

const FORM = 'v1';
const IV_BYTES = 12;

/**
 * Encrypts what must not be readable in the database, nor in its backups: AES-256-GCM with a key made of the configuration's.
 * Each text is tied to what it belongs to (`owner`, such as a binding's guid), so that it opens nowhere else.
 */
export class Vault {
  readonly #keys: readonly Key[];

  /** `encryption_key` seals; it and `previous_encryption_keys` open. Without one, everything that needs it is refused. */
  constructor(config: { encryption_key?: string | undefined; previous_encryption_keys?: readonly string[] }) {
    const { encryption_key, previous_encryption_keys = [] } = config;
    this.#keys = encryption_key === undefined ? [] : [encryption_key, ...previous_encryption_keys].map(makeKey);
  }

  get hasKey(): boolean {
    return this.#keys.length > 0;
  }

  /** Errors: 503 when the configuration has no key. */
  requireKey(): void {
    this.#current();
  }

  /** The JSON of a value, sealed. Errors: 503 when the configuration has no key. */
  seal(value: unknown, owner: string): string {
    const { id, key } = this.#current();
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(owner));
    const sealed = Buffer.concat([cipher.update(JSON.stringify(value), 'utf8'), cipher.final()]);
    return [FORM, id, ...[iv, cipher.getAuthTag(), sealed].map((part) => part.toString('base64url'))].join('.');
  }

  /** What was sealed for this owner. Errors: SecretUnreadable; 503 when the configuration has no key. */
  open(text: string, owner: string): unknown {
    this.#current();
    const [form, id, iv = '', tag = '', sealed = ''] = text.split('.');
    const key = this.#keys.find((candidate) => candidate.id === id)?.key;
    if (form !== FORM || key === undefined) throw new SecretUnreadable();
    const bytes = (part: string): Buffer => Buffer.from(part, 'base64url');
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, bytes(iv)).setAAD(Buffer.from(owner));
      decipher.setAuthTag(bytes(tag));
      return JSON.parse(Buffer.concat([decipher.update(bytes(sealed)), decipher.final()]).toString('utf8'));
    } catch (error) {
      throw new SecretUnreadable({ cause: error });
    }
  }

  /** As `open`, for a JSON object or nothing. */
  openObject(text: string | null, owner: string): Record<string, unknown> {
    if (text === null) return {};
    const value = this.open(text, owner);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
  }

  /** By which sealed texts say that today's key sealed them. Errors: 503 when the configuration has no key. */
  get currentKeyId(): string {
    return this.#current().id;
  }

  /** Whether another key than today's sealed it, so that it should be sealed anew. */
  isOld(text: string): boolean {
    return text.split('.')[1] !== this.#current().id;
  }

  #current(): Key {
    const [key] = this.#keys;
    if (key) return key;
    throw new CfError(
      'ServiceUnavailable',
      'Services are not available: the configuration of the cloud controller has no encryption_key.',
    );
  }
}

function makeKey(secret: string): Key {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'cloud-controller services', 32));
  return { id: createHash('sha256').update(key).digest('hex').slice(0, 8), key };
}
