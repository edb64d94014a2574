import { isAlias, isNode, parseDocument, visit } from 'yaml';
import { z } from 'zod';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import { environmentFault } from '../apps/schema.ts';
import { isClean } from '../api/clean-text.ts';
import { MetadataUpdate } from '../api/metadata.ts';
import { MAX_INTEGER } from '../processes/schema.ts';
import { parseLogRate, parseMegabytes } from './sizes.ts';

/** A process as a manifest describes it; what is undefined is left as it is. */
export interface ManifestProcess {
  type: string;
  /** null: as the droplet has it. */
  command?: string | null;
  instances?: number;
  memory_in_mb?: number;
  disk_in_mb?: number;
  log_rate_limit_in_bytes_per_second?: number;
  health_check?: { type?: 'port' | 'process' | 'http'; data: Record<string, string | number> };
  readiness_health_check?: { type?: 'port' | 'process' | 'http'; data: Record<string, string | number> };
}
export interface ManifestRoute {
  route: string;
  protocol?: 'http1' | 'http2' | 'tcp';
  options?: { loadbalancing?: 'round-robin' | 'least-connection' };
}
export interface ManifestSidecar {
  name: string;
  command?: string;
  process_types?: string[];
  memory_in_mb?: number;
}
export interface ManifestService {
  name: string;
  binding_name?: string | undefined;
  parameters?: Record<string, unknown> | undefined;
}
export interface ManifestApp {
  name: string;
  /** Of a new app; one that is there keeps its own. */
  lifecycle_type?: 'buildpack' | 'docker';
  buildpacks?: string[];
  stack?: string;
  env?: Record<string, string | number | boolean | null>;
  features?: Record<string, boolean>;
  routes?: ManifestRoute[];
  no_route: boolean;
  random_route: boolean;
  default_route: boolean;
  services: ManifestService[];
  metadata?: z.infer<typeof MetadataUpdate>;
  processes: ManifestProcess[];
  sidecars: ManifestSidecar[];
}

const Text = z.union([z.string(), z.number()]).transform(String);
const UNITS_TEXT = 'must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB';
const CheckType = z
  .enum(['port', 'process', 'http', 'none'])
  .transform((type) => (type === 'none' ? ('process' as const) : type));
const Seconds = z.number().int().min(1);
const Megabytes = (label: string) =>
  Text.transform((text, context) => {
    const megabytes = parseMegabytes(text);
    if (megabytes !== undefined && megabytes > 0 && megabytes <= MAX_INTEGER) return megabytes;
    const message =
      megabytes === undefined
        ? `${label} ${UNITS_TEXT}`
        : `${label} must be ${megabytes > 0 ? 'less' : 'greater'} than ${megabytes > 0 ? MAX_INTEGER : 0}MB`;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });

const ProcessFields = z.object({
  command: z.union([Text, z.null()]).optional(),
  user: z.literal('vcap', { error: "User must be 'vcap'" }).optional(),
  instances: z.number({ error: 'Instances is not a number' }).int().min(0).optional(),
  memory: Megabytes('Memory').optional(),
  disk_quota: Megabytes('Disk quota').optional(),
  'disk-quota': Megabytes('Disk quota').optional(),
  'log-rate-limit-per-second': Text.transform((text, context) => {
    const rate = parseLogRate(text);
    if (rate !== undefined) return rate;
    context.addIssue({ code: 'custom', message: `Log rate limit per second ${UNITS_TEXT}` });
    return z.NEVER;
  }).optional(),
  timeout: Seconds.optional(),
  'health-check-type': CheckType.optional(),
  'health-check-http-endpoint': z.string().startsWith('/').optional(),
  'health-check-invocation-timeout': Seconds.optional(),
  'health-check-interval': Seconds.optional(),
  'readiness-health-check-type': CheckType.optional(),
  'readiness-health-check-http-endpoint': z.string().startsWith('/').optional(),
  'readiness-health-check-invocation-timeout': Seconds.optional(),
  'readiness-health-check-interval': Seconds.optional(),
});
type ProcessFields = z.output<typeof ProcessFields>;

const AppFields = ProcessFields.extend({
  name: Text.refine((name) => name.trim() !== '' && name.length <= 255, { error: "Name can't be blank" }),
  lifecycle: z.enum(['buildpack', 'docker', 'cnb']).optional(),
  docker: z
    .object(
      { image: z.string().min(1), username: z.string().optional(), password: z.string().optional() },
      { error: 'Docker must be an object with an image' },
    )
    .optional(),
  buildpack: z.string().nullable().optional(),
  buildpacks: z.array(z.string()).optional(),
  stack: z.string().nullable().optional(),
  env: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).optional(),
  features: z.record(z.string(), z.boolean()).optional(),
  'no-route': z.boolean({ error: 'No-route must be a boolean' }).optional(),
  'random-route': z.boolean({ error: 'Random-route must be a boolean' }).optional(),
  'default-route': z.boolean({ error: 'Default-route must be a boolean' }).optional(),
  routes: z
    .array(
      z.object({
        route: z.string(),
        protocol: z.enum(['http1', 'http2', 'tcp']).optional(),
        options: z.object({ loadbalancing: z.enum(['round-robin', 'least-connection']).optional() }).optional(),
      }),
      { error: 'routes must be a list of route objects' },
    )
    .optional(),
  services: z
    .array(
      z.union([
        z.string(),
        z.object({
          name: z.string(),
          binding_name: z.string().min(1).max(255).optional(),
          parameters: z.record(z.string(), z.unknown()).optional(),
        }),
      ]),
    )
    .optional(),
  metadata: MetadataUpdate.optional(),
  processes: z.array(ProcessFields.extend({ type: z.string().min(1).max(255) })).optional(),
  sidecars: z
    .array(
      z.object({
        name: z.string().min(1).max(255),
        command: z.string().min(1).max(4096).optional(),
        process_types: z.array(z.string()).min(1).optional(),
        memory: z.union([z.number().int().min(1).max(MAX_INTEGER), Megabytes('Memory')]).optional(),
      }),
    )
    .optional(),
});
type AppFields = z.output<typeof AppFields>;

/**
 * The YAML of a manifest, as plain data. Errors: 400 with line and column for broken YAML; 422 for aliases, for another
 * version, and when there are no apps in it.
 */
export function readManifest(text: string): { applications: unknown[] } {
  const document = parseDocument(text, { uniqueKeys: true });
  const [fault] = document.errors;
  if (fault) {
    const at = fault.linePos?.[0];
    const [what] = fault.message.split('\n');
    const where = at && !/at line/.test(what ?? '') ? ` at line ${at.line}, column ${at.col}` : '';
    throw new CfError('MessageParseError', `Request invalid due to parse error: ${what?.replace(/:$/, '')}${where}`);
  }
  visit(document, (_key, node) => {
    if (isAlias(node) || (isNode(node) && 'anchor' in node && node.anchor !== undefined)) {
      throw unprocessable('Manifest does not support Anchors and Aliases');
    }
  });
  const body: unknown = document.toJS({ maxAliasCount: 0 });
  if (!isClean(body)) throw unprocessable('The manifest contains invalid characters');
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw unprocessable('Manifest must be an object with a list of applications');
  }
  const { version, applications } = body as { version?: unknown; applications?: unknown };
  if (version !== undefined && version !== 1)
    throw unprocessable('Unsupported manifest schema version. Currently supported versions: [1].');
  if (!Array.isArray(applications) || applications.length === 0) {
    throw unprocessable("Cannot parse manifest with no 'applications' field.");
  }
  return { applications };
}

/** Errors: 422 with all faults, each after the name of its app. */
export function parseManifest(text: string): ManifestApp[] {
  const { applications } = readManifest(text);
  const faults: string[] = [];
  const apps = applications.flatMap((given, at) => {
    const parsed = AppFields.safeParse(given);
    const name = nameOf(given) ?? `#${at + 1}`;
    if (parsed.success) {
      faults.push(...faultsOf(parsed.data).map((fault) => `For application '${name}': ${fault}`));
      return [normalize(parsed.data)];
    }
    faults.push(...parsed.error.issues.map((issue) => `For application '${name}': ${issueText(issue, given)}`));
    return [];
  });
  const names = apps.map((app) => app.name.toLowerCase());
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) faults.push(`For application '${twice}': the name is there twice`);
  if (faults.length > 0) throw unprocessable(faults);
  return apps;
}

function nameOf(given: unknown): string | undefined {
  if (typeof given !== 'object' || given === null || !('name' in given)) return undefined;
  return String(given.name);
}

function issueText(issue: z.core.$ZodIssue, given: unknown): string {
  const [first, at, ...rest] = issue.path;
  const { message } = issue;
  if (first === 'processes' && typeof at === 'number' && rest.length > 0) {
    const list = (given as { processes?: { type?: unknown }[] }).processes;
    return `Process "${String(list?.[at]?.type)}": ${labelled(rest, message)}`;
  }
  return labelled(issue.path, message);
}

function labelled(path: readonly PropertyKey[], message: string): string {
  // Messages of our own begin with the field's name.
  if (!/^Invalid|^Too |^Expected|^Unrecognized/.test(message)) return message;
  return `${path.map(String).join('.')}: ${message}`;
}

function faultsOf(app: AppFields): string[] {
  const faults: string[] = [];
  for (const name of Object.keys(app.env ?? {})) {
    const fault = environmentFault(name);
    if (fault !== undefined) faults.push(fault.replace('environment_variables', 'Env'));
  }
  if (app.lifecycle === 'cnb') faults.push("Lifecycle 'cnb' is not supported by this platform");
  if (app.docker !== undefined) {
    if (app.lifecycle === 'buildpack') faults.push('Docker is there and the lifecycle is buildpack');
    if (app.buildpack != null || app.buildpacks?.length)
      faults.push('Cannot specify both buildpack(s) and docker keys');
  }
  if (app.buildpack != null && (app.buildpacks?.length ?? 0) > 0) {
    faults.push('Buildpack and Buildpacks fields cannot be used together.');
  }
  const types = (app.processes ?? []).map((process) => process.type);
  for (const type of new Set(types)) {
    if (types.filter((other) => other === type).length > 1) faults.push(`Process "${type}" may only be present once`);
  }
  return faults;
}

function normalize(app: AppFields): ManifestApp {
  const web = normalizeProcess('web', app);
  const listed = (app.processes ?? []).map((process) => normalizeProcess(process.type, process));
  const hasWeb = listed.some((process) => process.type === 'web');
  const isWebSaid = Object.keys(web).length > 1;
  const buildpacks = buildpacksOf(app);
  const lifecycle_type = app.docker === undefined ? app.lifecycle : 'docker';
  return {
    name: app.name,
    ...(lifecycle_type !== undefined && lifecycle_type !== 'cnb' && { lifecycle_type }),
    no_route: app['no-route'] ?? false,
    random_route: app['random-route'] ?? false,
    default_route: app['default-route'] ?? false,
    services: (app.services ?? []).map((service) => (typeof service === 'string' ? { name: service } : service)),
    processes: hasWeb || !isWebSaid ? listed : [web, ...listed],
    sidecars: (app.sidecars ?? []).map(({ memory, command, process_types, name }) => ({
      name,
      ...(command !== undefined && { command }),
      ...(process_types && { process_types }),
      ...(memory !== undefined && { memory_in_mb: memory }),
    })),
    ...(buildpacks && { buildpacks }),
    ...(app.stack != null && { stack: app.stack }),
    ...(app.env && { env: app.env }),
    ...(app.features && { features: app.features }),
    ...(app.metadata && { metadata: app.metadata }),
    ...(app.routes && {
      routes: app.routes.map(({ route, protocol, options }) => ({
        route,
        ...(protocol && { protocol }),
        ...(options?.loadbalancing && { options: { loadbalancing: options.loadbalancing } }),
      })),
    }),
  };
}

function buildpacksOf(app: AppFields): string[] | undefined {
  if (app.buildpacks) return app.buildpacks;
  if (app.buildpack === undefined) return undefined;
  return app.buildpack === null || app.buildpack === 'default' || app.buildpack === 'null' ? [] : [app.buildpack];
}

function normalizeProcess(type: string, fields: ProcessFields): ManifestProcess {
  const { command, instances } = fields;
  const disk = fields.disk_quota ?? fields['disk-quota'];
  const log_rate = fields['log-rate-limit-per-second'];
  const health = checkOf(fields, 'health-check');
  const readiness = checkOf(fields, 'readiness-health-check');
  return {
    type,
    ...(command !== undefined && { command: command === 'default' || command === 'null' ? null : command }),
    ...(instances !== undefined && { instances }),
    ...(fields.memory !== undefined && { memory_in_mb: fields.memory }),
    ...(disk !== undefined && { disk_in_mb: disk }),
    ...(log_rate !== undefined && { log_rate_limit_in_bytes_per_second: log_rate }),
    ...(health && { health_check: health }),
    ...(readiness && { readiness_health_check: readiness }),
  };
}

function checkOf(
  fields: ProcessFields,
  prefix: 'health-check' | 'readiness-health-check',
): ManifestProcess['health_check'] | undefined {
  const type = fields[`${prefix}-type`];
  const endpoint = fields[`${prefix}-http-endpoint`];
  const invocation_timeout = fields[`${prefix}-invocation-timeout`];
  const interval = fields[`${prefix}-interval`];
  const timeout = prefix === 'health-check' ? fields.timeout : undefined;
  const data = {
    ...(endpoint !== undefined && { endpoint }),
    ...(invocation_timeout !== undefined && { invocation_timeout }),
    ...(interval !== undefined && { interval }),
    ...(timeout !== undefined && { timeout }),
  };
  if (type === undefined && Object.keys(data).length === 0) return undefined;
  return { ...(type && { type }), data };
}
