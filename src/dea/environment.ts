import { SERVICE_BINDING_PATHS, type StartMessage } from '#contracts/dea.ts';
import type { StagingMessage } from '#contracts/staging.ts';
import type { PortMapping } from '#contracts/warden.ts';
import type { ImageConfig } from './docker/image.ts';
import { IDENTITY_ENVIRONMENT } from './identity/identities.ts';

/** What only the DEA knows of an instance. Times in ms since the epoch. */
export interface InstanceFacts {
  host_ip: string;
  container_ip: string;
  ports: readonly PortMapping[];
  started_at_ms: number;
  has_identity?: boolean;
}

/** What a user may set otherwise. */
const DEFAULTS: readonly [string, string][] = [
  ['PATH', '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  ['LANG', 'C.UTF-8'],
  ['SHELL', '/bin/bash'],
];

/** Where the droplet is, in every container. */
const HOME: readonly [string, string][] = [
  ['HOME', '/home/vcap/app'],
  ['TMPDIR', '/home/vcap/tmp'],
  ['DEPS_DIR', '/home/vcap/deps'],
  ['USER', 'vcap'],
  ['LOGNAME', 'vcap'],
];

/** Relational schemes that DATABASE_URL knows, and what frameworks call them. */
const DATABASE_SCHEMES: Readonly<Record<string, string>> = {
  mysql: 'mysql2',
  mysql2: 'mysql2',
  postgres: 'postgres',
  postgresql: 'postgres',
};

/**
 * The environment of an instance or task, as "K=V". The user's own variables win over the platform's groups and lose to what
 * the platform says of the instance. Source: dea_ng, running environment; newer names as Diego has them.
 */
export function instanceEnvironment(start: StartMessage, facts: InstanceFacts, image?: ImageConfig): string[] {
  const [first] = facts.ports;
  const system: [string, string][] = [
    ['VCAP_APPLICATION', JSON.stringify(vcapApplication(start, facts))],
    servicesVariable(start),
    ['MEMORY_LIMIT', `${start.limits.mem}m`],
    ['CF_INSTANCE_GUID', start.instance],
    ['INSTANCE_GUID', start.instance],
    ['CF_INSTANCE_IP', facts.host_ip],
    ['CF_INSTANCE_INTERNAL_IP', facts.container_ip],
    [
      'CF_INSTANCE_PORTS',
      JSON.stringify(facts.ports.map((p) => ({ external: p.host_port, internal: p.container_port }))),
    ],
    ['CF_INSTANCE_ADDR', first ? `${facts.host_ip}:${first.host_port}` : ''],
    ['CF_INSTANCE_PORT', first ? String(first.host_port) : ''],
  ];
  if (facts.has_identity) system.push(...IDENTITY_ENVIRONMENT);
  if (start.kind === 'LRP') {
    system.push(
      ['CF_INSTANCE_INDEX', String(start.index)],
      ['INSTANCE_INDEX', String(start.index)],
      ['VCAP_APP_HOST', '0.0.0.0'],
    );
  }
  if (first) system.push(['PORT', String(first.container_port)], ['VCAP_APP_PORT', String(first.container_port)]);
  const database = databaseUrl(start.vcap_services);
  // Who is at home in an image, and where, is known from its own table of users.
  if (image) return merge([DEFAULTS.slice(0, 1), pairsOf(image.Env ?? []), database, start.env, system]);
  return merge([DEFAULTS, database, start.env, system, HOME]);
}

/** The environment of buildpacks while an app is staged: no port and no instance yet. */
export function stagingEnvironment(
  message: StagingMessage,
  limits: { memory_mb: number; timeout_s: number },
): string[] {
  const system: [string, string][] = [
    ['VCAP_APPLICATION', JSON.stringify(message.vcap_application)],
    servicesVariable(message),
    ['MEMORY_LIMIT', `${limits.memory_mb}m`],
    ['STAGING_TIMEOUT', String(limits.timeout_s)],
    ['CF_STACK', message.stack],
    ['CF_INSTANCE_IP', ''],
    ['CF_INSTANCE_PORT', ''],
    ['CF_INSTANCE_ADDR', ''],
    ['CF_INSTANCE_PORTS', '[]'],
    ['HOME', '/home/vcap'],
    ['USER', 'vcap'],
    ['LOGNAME', 'vcap'],
    ['TMPDIR', '/tmp'],
    ['STAGING_ROOT', '/tmp'],
  ];
  return merge([DEFAULTS, databaseUrl(message.vcap_services), message.env, system]);
}

function vcapApplication(start: StartMessage, facts: InstanceFacts): Record<string, unknown> {
  const started = new Date(facts.started_at_ms);
  const seconds = Math.floor(facts.started_at_ms / 1000);
  const port = facts.ports[0]?.container_port;
  return {
    ...start.vcap_application,
    instance_id: start.instance,
    ...(start.kind === 'LRP' && { instance_index: start.index }),
    host: '0.0.0.0',
    ...(port !== undefined && { port }),
    started_at: started.toISOString(),
    started_at_timestamp: seconds,
    start: started.toISOString(),
    state_timestamp: seconds,
  };
}

/** Where the app finds its services: in the variable itself unless it asked for files. */
function servicesVariable({
  service_binding_files: files,
  vcap_services,
}: Pick<StartMessage, 'service_binding_files' | 'vcap_services'>): [string, string] {
  if (!files) return ['VCAP_SERVICES', JSON.stringify(vcap_services)];
  return [files.variable, SERVICE_BINDING_PATHS[files.variable]];
}

/** The first relational service's address, for frameworks that look there; the user's own setting stands above it. */
function databaseUrl(vcap_services: Record<string, unknown>): [string, string][] {
  for (const bindings of Object.values(vcap_services)) {
    if (!Array.isArray(bindings)) continue;
    for (const binding of bindings as { credentials?: { uri?: unknown } }[]) {
      const uri = binding.credentials?.uri;
      const scheme = typeof uri === 'string' ? /^([a-z0-9]+):\/\//i.exec(uri)?.[1]?.toLowerCase() : undefined;
      const known = scheme === undefined ? undefined : DATABASE_SCHEMES[scheme];
      if (typeof uri === 'string' && scheme !== undefined && known !== undefined) {
        return [['DATABASE_URL', known + uri.slice(scheme.length)]];
      }
    }
  }
  return [];
}

function pairsOf(lines: readonly string[]): [string, string][] {
  return lines.map((line): [string, string] => {
    const at = line.indexOf('=');
    return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
  });
}

/** Later pairs win over earlier ones; a name that no process could have is left out. */
function merge(groups: readonly (readonly (readonly [string, string])[])[]): string[] {
  const merged = new Map<string, string>();
  for (const [name, value] of groups.flat()) {
    if (name === '' || /[=\0]/.test(name) || value.includes('\0')) continue;
    merged.set(name, value);
  }
  return [...merged].map(([name, value]) => `${name}=${value}`);
}
