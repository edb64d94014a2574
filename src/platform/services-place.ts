import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { PlatformSettings } from './settings.ts';

const run = promisify(execFile);

/**
 * The address by which apps reach the services of our brokers: in the last /30 of the containers' network, which warden leaves alone.
 * So each platform of a machine has its own, and the usual ports are free on it.
 */
export function servicesAddress(network_pool: string): string {
  const [base = '', bits = '32'] = network_pool.split('/');
  const first = base.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const address = first + 2 ** (32 - Number(bits)) - 3;
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** The control group of all servers that tenants use. */
export const servicesCgroup = ({ name }: Pick<PlatformSettings, 'name'>): string => `ingot-${name}-services`;

/** Makes the address this machine's. It is no neighbour's: containers reach it by the way to the host. */
export async function addServicesAddress({ network_pool }: PlatformSettings): Promise<void> {
  await run('ip', ['address', 'replace', `${servicesAddress(network_pool)}/32`, 'dev', 'lo']);
}

export async function removeServicesAddress({ network_pool }: PlatformSettings): Promise<void> {
  // Gone already when the platform was stopped before.
  await run('ip', ['address', 'delete', `${servicesAddress(network_pool)}/32`, 'dev', 'lo']).catch(() => {});
}
