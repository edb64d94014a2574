import { createHash, createHmac } from 'node:crypto';

/**
 * Passwords, made of one key and the name of what they are for: the same each time, so that none has to be kept anywhere, and a
 * broker that is asked again gives the same answer.
 */
export class Credentials {
  readonly #key: string;

  constructor(key: string) {
    this.#key = key;
  }

  /** 43 characters of the URL alphabet. */
  passwordFor(what: string): string {
    return createHmac('sha256', this.#key).update(what).digest('base64url');
  }
}

/** A UUID that always comes out of the same name: ids of plans, which must not change from one start to the next. */
export function idOf(name: string): string {
  const hex = createHash('sha256').update(`ingot:${name}`).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `5${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}
