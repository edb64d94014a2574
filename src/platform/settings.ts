import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { stringify } from 'yaml';
import { z } from 'zod';
import { ReservablePorts } from '#contracts/tcp-routes.ts';
import { TracingConfig } from '#http/otlp.ts';
import { loadConfig } from '#kernel/config.ts';
import type { Home } from './home.ts';

/** The brokers that we ship. */
export const SERVICES = ['postgresql', 'redis', 'nats', 'smtp', 'volume'] as const;
export type ServiceName = (typeof SERVICES)[number];

/** What one may choose of a platform on one machine; kept in `platform.yml` of its home. */
export const PlatformSettings = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9]{0,7}$/)
    .default('ingot')
    .describe('names network interfaces, firewall table and cgroups, so that several platforms stand side by side'),
  domain: z.string().default('cf.localhost').describe('system domain, and the first apps domain'),
  http_port: z.number().int().optional().describe('80, or 8080 when 80 is taken'),
  https_port: z.number().int().optional().describe('443, or 8443 when 443 is taken'),
  ssh_port: z.number().int().optional().describe('2222, or one of the next when that is taken'),
  listen_host: z
    .string()
    .default('127.0.0.1')
    .describe('address that the router listens on; 0.0.0.0 for the whole network'),
  tcp_ports: ReservablePorts.default('1024-1123').describe('ports of the router that TCP routes may have'),
  memory_mb: z
    .number()
    .int()
    .default(() => Math.floor((totalmem() / 1024 / 1024) * 0.75))
    .describe('memory that apps may reserve in all'),
  disk_mb: z.number().int().default(32_768).describe('disk that apps may write in all (a sparse image of this size)'),
  network_pool: z.string().default('10.254.0.0/20').describe('addresses of containers, a /30 each'),
  host_ports: z
    .strictObject({ first: z.number().int(), last: z.number().int() })
    .default({ first: 61_001, last: 65_000 }),
  uid_start: z.number().int().default(1_000_000_000).describe('first host user id that containers are mapped to'),
  container_backend: z
    .enum(['crun', 'process'])
    .default('crun')
    .describe('process: apps are plain processes without any isolation, for development without root'),
  deas: z.number().int().min(1).max(8).default(1).describe('DEAs on this machine'),
  routers: z
    .number()
    .int()
    .min(1)
    .max(8)
    .default(1)
    .describe('router processes that share the ports: more cores, and one that dies takes only what it had in flight'),
  log_level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  traces: TracingConfig.optional().describe('where traces of requests go; off when left out'),
  edit_hosts_file: z.boolean().default(true).describe('list the system hosts in /etc/hosts while the platform is up'),
  local_image_registries: z
    .boolean()
    .default(false)
    .describe('whether images may come from registries on this machine; whoever pushes can then make it ask itself'),
  push_welcome: z.boolean().default(true).describe('push the sample app at the first start'),
  services: z
    .union([z.literal('all'), z.array(z.enum(SERVICES))])
    .default('all')
    .describe('service brokers of our own that are in the marketplace; an empty list switches them off'),
  staging_env: z
    .record(z.string(), z.string())
    .default({})
    .describe('first contents of the staging environment variable group, e.g. a package registry'),
});
export type PlatformSettings = z.infer<typeof PlatformSettings>;

/** What needs root and Linux is left out where containers are plain processes. */
export const isolates = ({ container_backend }: Pick<PlatformSettings, 'container_backend'>): boolean =>
  container_backend === 'crun';

/** Which of our brokers stand in the marketplace. */
export const servicesOf = (settings: PlatformSettings): readonly ServiceName[] => {
  if (!isolates(settings)) return [];
  return settings.services === 'all' ? SERVICES : settings.services;
};

/** The way of containers that was chosen, now or at an earlier start; changes nothing. */
export function chosenBackend(home: Home, chosen: Partial<PlatformSettings>): PlatformSettings['container_backend'] {
  const kept = existsSync(home.settings)
    ? loadConfig(z.looseObject({ container_backend: z.string().optional() }), home.settings)
    : {};
  return PlatformSettings.shape.container_backend.parse(chosen.container_backend ?? kept.container_backend);
}

/** Reads the settings; at the first start writes them, with `chosen` over the defaults, so that later starts keep them. */
export function readSettings(home: Home, chosen: Partial<z.input<typeof PlatformSettings>> = {}): PlatformSettings {
  const kept: unknown = existsSync(home.settings) ? loadConfig(z.record(z.string(), z.unknown()), home.settings) : {};
  const settings = PlatformSettings.parse({ ...(kept as object), ...chosen });
  writeFileSync(home.settings, stringify(settings), { mode: 0o600 });
  return settings;
}

/** Names of all that listens on loopback inside the platform. */
export const INTERNAL_PORTS = [
  'postgres',
  'nats',
  'uaa',
  'cloud_controller',
  'cloud_controller_internal',
  'loggregator',
  'collector',
  'router_status',
  'brokers',
] as const;
export type InternalPorts = Record<(typeof INTERNAL_PORTS)[number], number>;

const InternalPortsFile = z.partialRecord(z.enum(INTERNAL_PORTS), z.number().int());

/** The ports chosen at an earlier start; undefined at the first. An earlier version had fewer. */
export function readPorts(home: Home): Partial<InternalPorts> | undefined {
  if (!existsSync(home.ports)) return undefined;
  return InternalPortsFile.parse(JSON.parse(readFileSync(home.ports, 'utf8')));
}

export function writePorts(home: Home, ports: InternalPorts): void {
  writeFileSync(home.ports, `${JSON.stringify(ports, undefined, 2)}\n`, { mode: 0o600 });
}
