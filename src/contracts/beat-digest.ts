import { createHash } from 'node:crypto';
import type { HeartbeatInstance } from './dea.ts';

/**
 * The digest of what a DEA holds, as its beats carry it: SHA-256 (hex, first 16 characters) over one line per instance,
 * `instance state version routable`, sorted. Equal digests mean that both sides hold the same list.
 */
export function beatDigest(
  droplets: readonly Pick<HeartbeatInstance, 'instance' | 'state' | 'version' | 'routable'>[],
): string {
  const lines = droplets.map((held) => `${held.instance} ${held.state} ${held.version} ${held.routable}`);
  return createHash('sha256').update(lines.sort().join('\n')).digest('hex').slice(0, 16);
}
