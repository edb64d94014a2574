import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Agent, buildConnector } from 'undici';
import { blockListOf, guardedLookup, isBlocked } from '#http/guarded-lookup.ts';
import { RegistryForbidden } from './image-errors.ts';

export interface RegistrySettings {
  insecure_registries: readonly string[];
  allows_local_registries: boolean;
  stall_timeout_s: number;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** This machine by its unroutable names, and what tells machines of a cloud who they are. */
const LOCAL = ['127.0.0.0/8', '0.0.0.0/8', '169.254.0.0/16', '::1/128', '::/128', 'fe80::/10'];

/**
 * How a registry is asked. Tenants name it, and it names where layers and tokens are: none of that may be this machine, whose own
 * services trust whoever comes from it, unless the configuration says so.
 */
export function agentFor(host: string, settings: RegistrySettings): Agent {
  const { insecure_registries, allows_local_registries, stall_timeout_s } = settings;
  const timeouts = { bodyTimeout: stall_timeout_s * 1000, keepAliveTimeout: 1000 };
  if (allows_local_registries || insecure_registries.includes(host))
    return new Agent({ ...timeouts, connect: { timeout: CONNECT_TIMEOUT_MS } });
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const blocked = blockListOf([
    ...LOCAL,
    ...own.map(({ address, family }) => `${address}/${family === 'IPv6' ? 128 : 32}`),
  ]);
  const refusal = (address: string): RegistryForbidden => new RegistryForbidden(address);
  const connect = buildConnector({ timeout: CONNECT_TIMEOUT_MS, lookup: guardedLookup(blocked, refusal) });
  return new Agent({
    ...timeouts,
    connect: (options, callback) => {
      const address = options.hostname.replace(/^\[|\]$/g, '');
      if (isIP(address) !== 0 && isBlocked(address, blocked)) callback(refusal(address), null);
      else connect(options, callback);
    },
  });
}
