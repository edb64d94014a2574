import { randomInt } from 'node:crypto';
import { sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import type { Deps } from '../deps.ts';
import { type Domain, domainsByGuid, findDefaultDomain } from '../domains/store.ts';
import { insertDestinations } from '../routes/destinations-store.ts';
import { createRouteIn } from '../routes/create.ts';
import type { FoundSpace } from '../spaces/store.ts';
import type { Trx } from '../tables.ts';
import type { ManifestApp, ManifestRoute } from './parse.ts';

export interface RouteContext {
  deps: Pick<Deps, 'config'>;
  caller: Caller;
  space: FoundSpace;
}

interface Address {
  domain: Domain;
  host: string;
  path: string;
  port: number | null;
}

/** Makes and maps the routes that a manifest wants for an app. True when the app's routes changed. */
export async function applyRoutes(
  trx: Trx,
  app: { guid: string; name: string },
  wanted: ManifestApp,
  context: RouteContext,
): Promise<boolean> {
  if (wanted.no_route) {
    const result = await trx.deleteFrom('route_destinations').where('app_guid', '=', app.guid).executeTakeFirst();
    return result.numDeletedRows > 0n;
  }
  const routes = wanted.routes ?? [];
  if (routes.length > 0) {
    for (const route of routes) await mapRoute(trx, app.guid, route, context);
    return true;
  }
  if (!wanted.random_route && !wanted.default_route) return false;
  const mapped = await trx
    .selectFrom('route_destinations')
    .select('guid')
    .where('app_guid', '=', app.guid)
    .executeTakeFirst();
  if (mapped) return false;
  const domain = await findDefaultDomain(trx, context.space.organization_guid);
  if (!domain) throw unprocessable('No default domain exists for this organization.');
  const host = wanted.random_route ? randomHost(app.name) : hostOf(app.name);
  const address = { domain, host, path: '', port: null };
  const guid = await findOrCreate(trx, `${host}.${domain.name}`, address, context);
  await mapTo(trx, guid, app.guid, undefined);
  return true;
}

async function mapRoute(trx: Trx, app_guid: string, wanted: ManifestRoute, context: RouteContext): Promise<void> {
  const address = await resolve(trx, wanted.route, context.space);
  const guid = await findOrCreate(trx, wanted.route, address, context);
  if (wanted.options) {
    await trx
      .updateTable('routes')
      .set({ options: JSON.stringify(wanted.options) })
      .where('guid', '=', guid)
      .execute();
  }
  await mapTo(trx, guid, app_guid, wanted.protocol);
}

async function mapTo(
  trx: Trx,
  route_guid: string,
  app_guid: string,
  protocol: ManifestRoute['protocol'] | undefined,
): Promise<void> {
  const destination = { app_guid, process_type: 'web', port: null, protocol: protocol ?? null, weight: null };
  await insertDestinations(trx, route_guid, [destination]);
  if (protocol === undefined) return;
  await trx
    .updateTable('route_destinations')
    .set({ protocol })
    .where('route_guid', '=', route_guid)
    .where('app_guid', '=', app_guid)
    .execute();
}

/** The domain with the longest name that the route ends in. Errors: 422 when there is none, or the route is malformed. */
async function resolve(trx: Trx, text: string, space: FoundSpace): Promise<Address> {
  const match = /^(?:[a-z]+:\/\/)?([^/:\s]+)(?::(\d{1,5}))?(\/[^\s]*)?$/i.exec(text.trim());
  const name = match?.[1]?.toLowerCase();
  if (name === undefined) throw unprocessable(`The route '${text}' is not a properly formed URL`);
  const { rows } = await sql<{ guid: string }>`
    select guid from domains d
    where (${name} = lower(d.name) or ${name} like '%.' || lower(d.name))
      and (organization_guid is null or organization_guid = ${space.organization_guid} or exists (
        select 1 from domain_shared_organizations s
        where s.domain_guid = d.guid and s.organization_guid = ${space.organization_guid}))
    order by length(name) desc limit 1`.execute(trx);
  const [domain] = await domainsByGuid(
    trx,
    rows.map(({ guid }) => guid),
  );
  if (!domain) throw unprocessable(`The route '${text}' did not match any existing domains.`);
  const host = name === domain.name.toLowerCase() ? '' : name.slice(0, -domain.name.length - 1);
  const path = match?.[3] === '/' ? '' : (match?.[3] ?? '');
  return { domain, host, path, port: match?.[2] === undefined ? null : Number(match[2]) };
}

async function findOrCreate(trx: Trx, text: string, address: Address, context: RouteContext): Promise<string> {
  const { domain, host, path, port } = address;
  const { rows } = await sql<{ guid: string; space_guid: string; is_shared: boolean }>`
    select guid, space_guid, exists (
      select 1 from route_shared_spaces s where s.route_guid = r.guid and s.space_guid = ${context.space.guid}) as is_shared
    from routes r where domain_guid = ${domain.guid} and lower(host) = lower(${host}) and lower(path) = lower(${path})
      and coalesce(port, 0) = ${port ?? 0}`.execute(trx);
  const [found] = rows;
  if (!found) {
    const { deps, caller, space } = context;
    return await createRouteIn(trx, deps, caller, { domain, space, host, path, port });
  }
  if (found.space_guid !== context.space.guid && !found.is_shared) {
    throw unprocessable(
      `The app cannot be mapped to route ${text.replace(/^[a-z]+:\/\//i, '')} because the route is not in this space. Apps must be mapped to routes in the same space.`,
    );
  }
  return found.guid;
}

function hostOf(name: string): string {
  const host = name
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63);
  if (host === '')
    throw unprocessable('Failed to create default route from app name: Host must contain letters or digits');
  return host;
}

const ADJECTIVES = [
  'brave',
  'bright',
  'calm',
  'clever',
  'fast',
  'gentle',
  'happy',
  'kind',
  'lively',
  'proud',
  'quiet',
  'warm',
];
const NOUNS = [
  'badger',
  'crane',
  'fox',
  'gecko',
  'heron',
  'lynx',
  'marten',
  'otter',
  'puffin',
  'quokka',
  'robin',
  'wombat',
];

function randomHost(name: string): string {
  const pick = (words: readonly string[]): string => words[randomInt(words.length)] ?? '';
  const letters = Array.from({ length: 2 }, () => String.fromCharCode(97 + randomInt(26))).join('');
  return `${hostOf(name).slice(0, 44)}-${pick(ADJECTIVES)}-${pick(NOUNS)}-${letters}`;
}
