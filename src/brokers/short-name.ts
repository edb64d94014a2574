import { createHash } from 'node:crypto';

/** 32 hexadecimal digits: those of a UUID, else of a digest. Platforms may name things as they like. */
export function shortOf(guid: string): string {
  const bare = guid.replaceAll('-', '').toLowerCase();
  return /^[0-9a-f]{32}$/.test(bare) ? bare : createHash('sha256').update(guid).digest('hex').slice(0, 32);
}
