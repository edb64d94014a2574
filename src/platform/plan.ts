import { createHash } from 'node:crypto';
import type { Home } from './home.ts';
import { choosePort, isPortFree } from './preflight.ts';
import { readSecrets, type Secrets } from './secrets.ts';
import {
  INTERNAL_PORTS,
  readPorts,
  readSettings,
  writePorts,
  type InternalPorts,
  type PlatformSettings,
} from './settings.ts';

/** The one stack; its name is the one that users and buildpacks expect. */
export const STACK = 'cflinuxfs4';

/** The API tells the number, so that any will do. */
const SSH_PORTS = Array.from({ length: 20 }, (_, n) => 2222 + n);

export const deaName = (index: number): string => (index === 0 ? 'dea' : `dea-${index}`);
export const routerName = (index: number): string => (index === 0 ? 'router' : `router-${index}`);

/** All that is decided before anything starts. */
export interface PlatformPlan {
  home: Home;
  settings: PlatformSettings;
  secrets: Secrets;
  ports: InternalPorts;
  http_port: number;
  https_port: number;
  ssh_port: number;
}

/** Errors: PreflightFailed when the router finds no port. */
export async function planPlatform(home: Home, chosen: Partial<PlatformSettings>): Promise<PlatformPlan> {
  const settings = readSettings(home, chosen);
  const http_port = await choosePort(settings.listen_host, settings.http_port, [80, 8080]);
  const https_port = await choosePort(settings.listen_host, settings.https_port, [443, 8443]);
  const ssh_port = await choosePort(settings.listen_host, settings.ssh_port, SSH_PORTS);
  const ports = await internalPorts(home);
  return { home, settings, secrets: readSecrets(home), ports, http_port, https_port, ssh_port };
}

/** Platforms of different homes look in different places, since two that start at once would both find a port free. */
function firstPort(home: Home): number {
  return 9100 + (createHash('sha256').update(home.folder).digest().readUInt16BE() % 80) * 10;
}

/** The ports of the last start where they are free, else others. */
async function internalPorts(home: Home): Promise<InternalPorts> {
  const kept = readPorts(home);
  const taken = new Set<number>();
  const ports: Partial<InternalPorts> = {};
  let next = firstPort(home);
  for (const name of INTERNAL_PORTS) {
    let port = kept?.[name];
    while (port === undefined || taken.has(port) || !(await isPortFree('127.0.0.1', port))) port = next++;
    taken.add(port);
    ports[name] = port;
  }
  const chosen = ports as InternalPorts;
  writePorts(home, chosen);
  return chosen;
}
