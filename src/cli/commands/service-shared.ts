import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Call } from '../client.ts';
import { mustFind, requireSpace, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { Named } from '../resources.ts';

export interface LastOperation {
  type: string;
  state: string;
  description?: string | null;
  created_at?: string;
  updated_at?: string;
}

export interface ServiceInstance extends Named {
  type: 'managed' | 'user-provided';
  tags: string[];
  last_operation?: LastOperation | null;
  syslog_drain_url?: string | null;
  route_service_url?: string | null;
  dashboard_url?: string | null;
  upgrade_available?: boolean;
  relationships: {
    service_plan?: { data: { guid: string } };
    space: { data: { guid: string } };
  };
}

export interface ServicePlan extends Named {
  description: string;
  available: boolean;
  free: boolean;
  visibility_type: string;
  costs: { currency: string; amount: number; unit: string }[];
  maintenance_info?: { version?: string };
  relationships: { service_offering: { data: { guid: string } }; space?: { data: { guid: string } } };
}

export interface ServiceOffering extends Named {
  description: string;
  tags: string[];
  documentation_url: string | null;
  relationships: { service_broker: { data: { guid: string } } };
}

/** Errors: CommandError "Service instance 'x' not found." */
export async function findInstance(cf: Cf, name: string): Promise<ServiceInstance> {
  const query = { space_guids: requireSpace(cf).guid };
  return await mustFind<ServiceInstance>(
    cf,
    { kind: 'Service instance', path: '/v3/service_instances' },
    name.trim(),
    query,
  );
}

/** Errors: CommandError when there is no such offering, or several brokers have one of that name. */
export async function findOffering({ client }: Cf, name: string, broker: string | undefined): Promise<ServiceOffering> {
  const query = { names: name, service_broker_names: broker };
  const [found, another] = (await client.list<ServiceOffering>('/v3/service_offerings', query)).resources;
  if (!found) {
    const whose = broker === undefined ? '' : ` for service broker '${broker}'`;
    throw new CommandError(`Service offering '${name}'${whose} not found.`);
  }
  if (another) {
    throw new CommandError(
      `Service offering '${name}' is provided by multiple service brokers. Specify a broker by using the '-b' flag.`,
    );
  }
  return found;
}

/** `-c`: JSON, or the path of a file that holds some. Errors: CommandError when it is no object. */
export function parameters(given: string | undefined): { parameters?: object } {
  return given === undefined ? {} : { parameters: jsonObject(given, '-c') };
}

export function jsonObject(given: string, flag: string): Record<string, unknown> {
  const text = existsSync(given) ? readFileSync(given, 'utf8') : given;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new CommandError(
    `Invalid configuration provided for ${flag} flag. Please provide a valid JSON object or path to a file containing a valid JSON object.`,
  );
}

export const tagsOf = (text: string): string[] =>
  text
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');

export const withParameters = (command: Command): Command =>
  command.option('-c <json>', 'Settings for the broker, as JSON or a file of it');
export const withWait = (command: Command): Command => command.option('-w, --wait', 'Wait until the work is done');

/** Makes a change that a broker may take long for. Returns whether its end is known: there was no job, or it was waited for. */
export async function change(cf: Cf, path: string, call: Call, wait: boolean | undefined): Promise<boolean> {
  const { headers } = await cf.client.call(path, call);
  const job = headers['location'];
  if (typeof job !== 'string' || !job.includes('/v3/jobs/')) return true;
  if (wait === true) {
    await cf.client.waitForJob(job);
    return true;
  }
  const { state, errors } = await cf.client.get<{ state: string; errors?: { detail: string }[] }>(job);
  if (state === 'FAILED') throw new CommandError((errors ?? []).map(({ detail }) => detail).join('\n'));
  // A broker that answers at once is done before anybody looks again.
  return state === 'COMPLETE';
}
