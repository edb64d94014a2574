import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { request } from 'undici';
import { z } from 'zod';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { AppError, describeError } from '#kernel/errors.ts';
import { AdminApi } from './admin-api.ts';
import { brokersLogin } from './configure.ts';
import { servicesAddress } from './services-place.ts';
import { SERVICES, type ServiceName, servicesOf } from './settings.ts';
import type { PlatformPlan } from './plan.ts';

/** What was given to the marketplace already: an operator who has changed it since meant it. */
const Offered = z.object({
  brokers: z.record(z.string(), z.string()).describe('name to digest of URL and catalog'),
  public_plans: z.array(z.string()).describe('ids of the catalog'),
});
type Offered = z.infer<typeof Offered>;

export interface Offering {
  offered: ServiceName[];
  faults: string[];
}

/** TCP ports of the services, on their address. */
const PORTS: Readonly<Partial<Record<ServiceName, string>>> = {
  postgresql: '5432',
  redis: '6400-6999',
  nats: '4222',
  smtp: '2525',
};
const SECURITY_GROUP = 'services';

/**
 * Registers our brokers with the cloud controller, makes new plans public, and lets containers through to the services; at a start
 * that changes nothing it only looks. A broker that fails is told and keeps nothing else from starting.
 */
export async function offerServices(plan: PlatformPlan): Promise<Offering> {
  const { home, settings } = plan;
  const before = readOffered(home.offered);
  const wanted = servicesOf(settings);
  if (wanted.length === 0 && Object.keys(before.brokers).length === 0) return { offered: [], faults: [] };
  const api = await AdminApi.logIn(plan);
  const after: Offered = { brokers: { ...before.brokers }, public_plans: [...before.public_plans] };
  const outcome: Offering = { offered: [], faults: [] };
  const registered = await api.list<Broker>('/v3/service_brokers?per_page=5000');
  for (const name of SERVICES) {
    const known = registered.find((broker) => broker.name === name);
    try {
      if (wanted.includes(name)) {
        after.brokers[name] = await register({ api, plan, name, known, digest: before.brokers[name] });
        after.public_plans.push(...(await publish(api, name, after.public_plans)));
        outcome.offered.push(name);
      } else if (before.brokers[name] !== undefined) {
        if (known) await api.delete(`/v3/service_brokers/${known.guid}`);
        delete after.brokers[name];
      }
    } catch (error) {
      outcome.faults.push(`${name}: ${describeError(error)}`);
    }
  }
  try {
    if (wanted.length > 0) await letThrough(api, plan);
  } catch (error) {
    outcome.faults.push(`security group: ${describeError(error)}`);
  }
  writeFileSync(home.offered, JSON.stringify(after), { mode: 0o600 });
  return outcome;
}

export function marketplaceNote({ offered, faults }: Offering): string {
  return [offered.length === 0 ? 'without services' : `with ${offered.join(', ')}`, ...faults].join('; ');
}

interface Broker {
  guid: string;
  name: string;
  url: string;
}

function readOffered(file: string): Offered {
  if (!existsSync(file)) return { brokers: {}, public_plans: [] };
  return Offered.parse(JSON.parse(readFileSync(file, 'utf8')));
}

async function register(of: {
  api: AdminApi;
  plan: PlatformPlan;
  name: ServiceName;
  known: Broker | undefined;
  digest: string | undefined;
}): Promise<string> {
  const { api, plan, name, known } = of;
  const url = `http://127.0.0.1:${plan.ports.brokers}/${name}`;
  const login = brokersLogin(plan);
  const digest = await digestOf(url, login);
  if (known && known.url === url && digest === of.digest) return digest;
  const authentication = { type: 'basic', credentials: { username: login.user, password: login.password } };
  if (known) await api.patch(`/v3/service_brokers/${known.guid}`, { url, authentication });
  else await api.post('/v3/service_brokers', { name, url, authentication });
  return digest;
}

async function digestOf(url: string, login: { user: string; password: string }): Promise<string> {
  const headers = { authorization: basicAuthHeader(login), 'x-broker-api-version': '2.17' };
  const { statusCode, body } = await request(`${url}/v2/catalog`, { headers, headersTimeout: 10_000 });
  const text = await body.text();
  if (statusCode !== 200) throw new AppError('broker_silent', `the broker answered ${statusCode}`);
  return createHash('sha256').update(url).update(login.password).update(text).digest('hex');
}

/** Opens plans that were never opened before to everybody; their ids. */
async function publish(api: AdminApi, broker: string, opened: readonly string[]): Promise<string[]> {
  interface Plan {
    guid: string;
    broker_catalog: { id: string };
  }
  const plans = await api.list<Plan>(`/v3/service_plans?per_page=5000&service_broker_names=${broker}`);
  const fresh = plans.filter((plan) => !opened.includes(plan.broker_catalog.id));
  for (const { guid } of fresh) await api.patch(`/v3/service_plans/${guid}/visibility`, { type: 'public' });
  return fresh.map((plan) => plan.broker_catalog.id);
}

/** A security group for every space: the address of the services, and of that their ports alone. */
async function letThrough(api: AdminApi, { settings }: PlatformPlan): Promise<void> {
  interface Group {
    guid: string;
    rules: unknown[];
  }
  const destination = servicesAddress(settings.network_pool);
  const rules = Object.entries(PORTS).map(([name, ports]) => ({
    protocol: 'tcp',
    destination,
    ports,
    description: name,
  }));
  const [group] = await api.list<Group>(`/v3/security_groups?names=${SECURITY_GROUP}`);
  if (!group) {
    const globally_enabled = { running: true, staging: true };
    await api.post('/v3/security_groups', { name: SECURITY_GROUP, globally_enabled, rules });
  } else if (!isDeepStrictEqual(group.rules, rules)) {
    await api.patch(`/v3/security_groups/${group.guid}`, { rules });
  }
}
