import { createHash, randomBytes } from 'node:crypto';

/** A word that nobody can guess, of `bytes` random bytes. */
export const randomWord = (bytes = 24): string => randomBytes(bytes).toString('base64url');

const EASY = 'abcdefghjkmnpqrstuvwxyz023456789';

/** A word that people read from one place and type at another: no signs that look alike, and none that a shell or a flag minds. */
export const easyWord = (length = 16): string =>
  Array.from(randomBytes(length), (byte) => EASY[byte % EASY.length]).join('');

/** What is kept in place of a random word: who reads the table cannot use it. Not for what people choose themselves. */
export const digestOf = (word: string): string => createHash('sha256').update(word).digest('base64url');
