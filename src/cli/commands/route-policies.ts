import type { Command } from 'commander';
import {
  findApp,
  findOrg,
  findSpace,
  requireOrg,
  requireSpace,
  requireUser,
  whereAndWho,
  type Cf,
} from '../context.ts';
import { CommandError } from '../errors.ts';
import type { Domain, Named, Route } from '../resources.ts';
import { findDomain } from './domains.ts';
import { findRoute, type RouteFlags, urlOf, withSlash } from './routes.ts';

interface RoutePolicy {
  guid: string;
  source: string;
  relationships: { route: { data: { guid: string } } };
}

interface SourceFlags {
  sourceApp?: string;
  sourceSpace?: string;
  sourceOrg?: string;
  sourceAny?: true;
  source?: string;
}

type PolicyFlags = RouteFlags & SourceFlags & { hostname: string };

/** Which apps may reach a route of a domain that enforces route policies. */
export function registerRoutePolicyCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  const withSource = (command: Command): Command =>
    command
      .requiredOption('-n, --hostname <host>', 'Hostname of the route')
      .option('-p, --path <path>', 'Path of the route')
      .option('--source-app <app>', 'App that may call')
      .option('--source-space <space>', 'Space whose apps may call, or the space of the app')
      .option('--source-org <org>', 'Org whose apps may call, or the org of the space')
      .option('--source-any', 'Any app that proves who it is')
      .option('--source <source>', 'cf:app:GUID, cf:space:GUID, cf:org:GUID or cf:any');

  withSource(program.command('add-route-policy <DOMAIN>').description('Let an app, a space or an org call a route'))
    // One action each, since what is done differs.
    .action(async (domain_name: string, flags: PolicyFlags) => {
      const user = requireUser(cf);
      const source = await sourceOf(cf, flags);
      terminal.say(terminal.text`Adding route policy for route ${urlOf(domain_name, flags)} as ${user}...`);
      terminal.say(`  source: ${source}`);
      const domain = await findDomain(cf, domain_name);
      if (domain.enforce_route_policies !== true)
        throw new CommandError(`Domain '${domain_name}' does not enforce route policies.`);
      const { guid } = await mustFindRoute(cf, domain, flags);
      const relationships = { route: { data: { guid } } };
      await client.call('/v3/route_policies', { method: 'POST', json: { source, relationships } });
      terminal.ok();
    });

  withSource(program.command('remove-route-policy <DOMAIN>').description('Take back what lets somebody call a route'))
    .option('-f', 'Do not ask first')
    .action(async (domain_name: string, flags: PolicyFlags & { f?: true }) => {
      const user = requireUser(cf);
      const source = await sourceOf(cf, flags);
      const shown = urlOf(domain_name, flags);
      if (!(await terminal.confirm(`Really remove route policy with source ${source} for route ${shown}?`, flags.f)))
        return terminal.say('Route policy has not been removed.');
      terminal.say(terminal.text`Removing route policy for route ${shown} as ${user}...`);
      const route = await mustFindRoute(cf, await findDomain(cf, domain_name), flags);
      const query = { route_guids: route.guid, sources: source };
      const [policy] = (await client.list<RoutePolicy>('/v3/route_policies', query)).resources;
      if (!policy) throw new CommandError(`Route policy with source '${source}' not found.`);
      await client.call(`/v3/route_policies/${policy.guid}`, { method: 'DELETE' });
      terminal.ok();
    });

  program
    .command('route-policies')
    .description('List route policies of the routes in the target space')
    .option('--domain <domain>', 'Of routes of this domain alone')
    .option('-n, --hostname <host>', 'Of routes with this hostname alone')
    .option('-p, --path <path>', 'Of routes with this path alone')
    .action(async (flags: { domain?: string; hostname?: string; path?: string }) => {
      const space = requireSpace(cf);
      terminal.say(`Getting route policies ${whereAndWho(cf)}...\n`);
      const query = { space_guids: space.guid, include: 'route,source', per_page: 5000 };
      const { resources, included } = await client.list<RoutePolicy>('/v3/route_policies', query);
      const routes = new Map((included['routes'] as Route[] | undefined)?.map((route) => [route.guid, route]));
      const names = new Map(
        ['apps', 'spaces', 'organizations'].flatMap((kind) =>
          ((included[kind] ?? []) as Named[]).map(({ guid, name }) => [guid, name] as const),
        ),
      );
      const rows = resources.flatMap(({ source, relationships }) => {
        const route = routes.get(relationships.route.data.guid);
        if (!route || !isWanted(route, flags)) return [];
        const [, kind = 'any', guid = ''] = source.split(':');
        const name = kind === 'any' ? 'any authenticated app' : (names.get(guid) ?? '(unknown)');
        return [[...placeOf(route), source, kind, name]];
      });
      if (rows.length === 0) return terminal.say('No route policies found.');
      terminal.table([['host', 'domain', 'path', 'source', 'scope', 'name'], ...rows]);
    });
}

function isWanted(route: Route, flags: { domain?: string; hostname?: string; path?: string }): boolean {
  const { domain, hostname, path } = flags;
  const [own_host, own_domain, own_path] = placeOf(route);
  return (
    (domain === undefined || domain === own_domain) &&
    (hostname === undefined || hostname === own_host) &&
    (path === undefined || withSlash(path) === own_path)
  );
}

/** Host, domain and path. */
function placeOf({ url, host, path }: Route): [string, string, string] {
  const address = url.slice(0, url.length - path.length);
  return [host, host === '' ? address : address.slice(host.length + 1), path];
}

async function mustFindRoute(cf: Cf, domain: Domain, flags: RouteFlags): Promise<Route> {
  const route = await findRoute(cf, domain, flags);
  if (!route) throw new CommandError(`Route '${urlOf(domain.name, flags)}' not found.`);
  return route;
}

/** The most specific flag says what the source is; those above it, where it is looked for. */
async function sourceOf(cf: Cf, flags: SourceFlags): Promise<string> {
  const { sourceApp: app, sourceSpace: space, sourceOrg: org } = flags;
  const given = [app ?? space ?? org, flags.source, flags.sourceAny].filter((flag) => flag !== undefined);
  if (given.length !== 1) {
    throw new CommandError(
      'Incorrect Usage: exactly one of --source-app, --source-space, --source-org, --source-any and --source is needed',
    );
  }
  if (flags.source !== undefined) return flags.source;
  if (flags.sourceAny) return 'cf:any';
  if (app !== undefined && org !== undefined && space === undefined)
    throw new CommandError('Incorrect Usage: --source-org and --source-space must be used together');
  const org_guid = org === undefined ? requireOrg(cf).guid : (await findOrg(cf, org)).guid;
  if (space === undefined && app === undefined) return `cf:org:${org_guid}`;
  const space_guid = space === undefined ? requireSpace(cf).guid : (await findSpace(cf, space, org_guid)).guid;
  return app === undefined ? `cf:space:${space_guid}` : `cf:app:${(await findApp(cf, app, space_guid)).guid}`;
}
