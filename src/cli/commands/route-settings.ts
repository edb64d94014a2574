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
import type { Named, Route } from '../resources.ts';
import { findDomain } from './domains.ts';
import { collect } from './flags.ts';
import { findRoute, urlOf, withSlash, type RouteFlags } from './routes.ts';

interface ElsewhereFlags extends RouteFlags {
  o?: string;
  s?: string;
}

/** A route in full, its settings, and other spaces' part in it. */
export function registerRouteSettingCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;
  const withPlace = (command: Command): Command =>
    command.option('-n, --hostname <host>', 'Host of the route').option('--path <path>', 'Path of the route');
  const withPort = (command: Command): Command =>
    withPlace(command).option('--port <port>', 'Port of the TCP route', Number);

  withPort(
    program.command('route <DOMAIN>').alias('ro').description('Display route details and mapped destinations'),
  ).action(async (domain: string, flags: RouteFlags) => await showRoute(cf, domain, flags));

  withPlace(
    program
      .command('update-route <DOMAIN>')
      .description('Update a route by route specific options, e.g. load balancing algorithm')
      .option('-o, --option <option>', 'Option of the route, NAME=VALUE', collect)
      .option('-r, --remove-option <name>', 'Option to remove', collect),
  ).action(async (domain: string, flags: RouteFlags & { removeOption?: string[] }) => {
    requireSpace(cf);
    const shown = urlOf(domain, flags);
    const route = await mustFindRoute(cf, domain, flags);
    terminal.say(terminal.text`Updating route ${shown} ` + `${whereAndWho(cf).replace(/^in/, 'for')}...`);
    const options: Record<string, string | null> = {};
    for (const pair of flags.option ?? []) {
      const [name, value] = pair.split('=', 2);
      if (!name || value === undefined)
        throw new CommandError(`Incorrect Usage: Route option '${pair}' for route '${shown}' is not NAME=VALUE.`);
      options[name] = value;
    }
    for (const name of flags.removeOption ?? []) options[name] = null;
    await client.call(`/v3/routes/${route.guid}`, { method: 'PATCH', json: { options } });
    terminal.say(`Route ${route.url} has been updated`);
    terminal.ok();
  });

  withPort(
    program
      .command('check-route <DOMAIN>')
      .description('Perform a check to determine whether a route currently exists or not'),
  ).action(async (domain_name: string, flags: RouteFlags) => {
    requireOrg(cf);
    terminal.say('Checking for route...');
    const domain = await findDomain(cf, domain_name);
    const query = { host: flags.hostname ?? '', path: withSlash(flags.path), port: flags.port };
    const { matching_route } = await client.get<{ matching_route: boolean }>(
      `/v3/domains/${domain.guid}/route_reservations`,
      { ...query, path: query.path || undefined },
    );
    terminal.say(`Route '${urlOf(domain_name, flags)}' ${matching_route ? 'does' : 'does not'} exist.`);
    terminal.ok();
  });

  program
    .command('delete-orphaned-routes')
    .description(
      'Delete all orphaned routes in the currently targeted space (i.e. those that are not mapped to an app or service instance)',
    )
    .option('-f', 'Do not ask first')
    .action(async (flags: { f?: true }) => {
      const space = requireSpace(cf);
      if (!(await terminal.confirm('Really delete orphaned routes?', flags.f)))
        return terminal.say('Routes have not been deleted.');
      terminal.say(terminal.text`Deleting orphaned routes as ${requireUser(cf)}...`);
      await client.callAndWait(`/v3/spaces/${space.guid}/routes`, {
        method: 'DELETE',
        query: { unmapped: 'true' },
      });
      terminal.ok();
    });

  withPlace(
    program
      .command('update-destination <APP_NAME> <DOMAIN>')
      .description('Updates the destination protocol for a route')
      .option('--app-protocol <protocol>', 'http1 or http2', 'http1'),
  ).action(
    async (app_name: string, domain: string, flags: RouteFlags) =>
      await updateDestination(cf, [app_name, domain], flags),
  );

  const withElsewhere = (command: Command, what: string): Command =>
    withPlace(command)
      .option('-o <org>', `Org of ${what}; the targeted one otherwise`)
      .option('-s <space>', `Space ${what}; the targeted one otherwise`);

  withElsewhere(
    program.command('share-route <DOMAIN>').description('Share a route in between spaces'),
    'that the route is shared with',
  ).action(async (domain: string, flags: ElsewhereFlags) => {
    const { route, space } = await routeAndSpace(cf, domain, flags);
    terminal.say(terminal.text`Sharing route ${urlOf(domain, flags)} to space ${space.name} as ${requireUser(cf)}`);
    const json = { data: [{ guid: space.guid }] };
    await client.call(`/v3/routes/${route.guid}/relationships/shared_spaces`, { method: 'POST', json });
    terminal.ok();
  });

  withElsewhere(
    program.command('unshare-route <DOMAIN>').description('Unshare an existing route from a space'),
    'that the route is taken from',
  ).action(async (domain: string, flags: ElsewhereFlags) => {
    const { route, space } = await routeAndSpace(cf, domain, flags);
    terminal.say(terminal.text`Unsharing route ${urlOf(domain, flags)} from space ${space.name} as ${requireUser(cf)}`);
    await client.call(`/v3/routes/${route.guid}/relationships/shared_spaces/${space.guid}`, { method: 'DELETE' });
    terminal.ok();
  });

  withElsewhere(
    program.command('move-route <DOMAIN>').description('Assign a route to a different space'),
    'that the route goes to',
  ).action(async (domain: string, flags: ElsewhereFlags) => {
    const { route, space } = await routeAndSpace(cf, domain, flags);
    terminal.say(
      terminal.text`Move ownership of route ${urlOf(domain, flags)} to space ${space.name} as ${requireUser(cf)}`,
    );
    const json = { data: { guid: space.guid } };
    await client.call(`/v3/routes/${route.guid}/relationships/space`, { method: 'PATCH', json });
    terminal.ok();
  });
}

/** Errors: CommandError when there is no such route. */
export async function mustFindRoute(cf: Cf, domain: string, flags: RouteFlags): Promise<Route> {
  const route = await findRoute(cf, await findDomain(cf, domain), flags);
  if (route) return route;
  const place =
    flags.port === undefined
      ? `host '${flags.hostname ?? ''}', domain '${domain}', and path '${withSlash(flags.path) || '/'}'`
      : `domain '${domain}' and port ${flags.port}`;
  throw new CommandError(`Route with ${place} not found.`);
}

async function routeAndSpace(cf: Cf, domain: string, flags: ElsewhereFlags): Promise<{ route: Route; space: Named }> {
  const here = requireSpace(cf);
  const route = await mustFindRoute(cf, domain, flags);
  const org = flags.o === undefined ? requireOrg(cf) : await findOrg(cf, flags.o);
  return { route, space: flags.s === undefined ? here : await findSpace(cf, flags.s, org.guid) };
}

async function showRoute(cf: Cf, domain: string, flags: RouteFlags): Promise<void> {
  const { terminal, client } = cf;
  requireSpace(cf);
  terminal.say(terminal.text` Showing route ${urlOf(domain, flags)} ` + `${whereAndWho(cf)}...\n`);
  const route = await mustFindRoute(cf, domain, flags);
  const options = Object.entries(route.options ?? {}).map(([key, value]) => `${key}=${value}`);
  terminal.facts([
    ['domain:', domain],
    ['host:', route.host],
    ['port:', route.port === null ? '' : String(route.port)],
    ['path:', route.path],
    ['protocol:', route.protocol],
    ['options:', options.length === 0 ? '' : `{${options.join(', ')}}`],
  ]);
  terminal.say('\nDestinations:');
  const guids = [...new Set(route.destinations.map((to) => to.app.guid))].join(',');
  const apps = guids === '' ? [] : (await client.list<Named>('/v3/apps', { guids, per_page: 5000 })).resources;
  const rows = route.destinations.map((to) => [
    apps.find(({ guid }) => guid === to.app.guid)?.name ?? '',
    to.app.process.type,
    String(to.port),
    to.protocol,
  ]);
  terminal.table([['app', 'process', 'port', 'app-protocol'], ...rows], '\t');
}

async function updateDestination(
  cf: Cf,
  [app_name, domain]: readonly [string, string],
  flags: RouteFlags,
): Promise<void> {
  const { terminal, client } = cf;
  const protocol = flags.appProtocol ?? 'http1';
  const app = await findApp(cf, app_name);
  const route = await findRoute(cf, await findDomain(cf, domain), flags);
  if (!route) {
    terminal.say('Route to be updated does not exist.');
    throw new CommandError(`Route ${urlOf(domain, flags)} not found.`);
  }
  const destination = route.destinations.find((to) => to.app.guid === app.guid);
  if (!destination) throw new CommandError("Route's destination to be updated does not exist.");
  if (destination.protocol === protocol) {
    terminal.say(` App '${app_name}' is already using '${protocol}'. Nothing has been updated`);
    return terminal.ok();
  }
  terminal.say(
    terminal.text`Updating destination protocol from ${destination.protocol} to ${protocol} for route ${urlOf(domain, flags)} ` +
      `${whereAndWho(cf)}...`,
  );
  const path = `/v3/routes/${route.guid}/destinations/${destination.guid}`;
  await client.call(path, { method: 'PATCH', json: { protocol } });
  terminal.ok();
}
