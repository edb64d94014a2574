import type { Command } from 'commander';
import { findApp, requireOrg, requireSpace, requireUser, whereAndWho, type Cf } from '../context.ts';
import { ApiError, CommandError } from '../errors.ts';
import type { App, Domain, Named, Route } from '../resources.ts';
import { findDomain } from './domains.ts';
import { collect } from './flags.ts';

export interface RouteFlags {
  hostname?: string;
  path?: string;
  port?: number;
  appProtocol?: string;
  appPort?: number;
  option?: string[];
}

export const withSlash = (path: string | undefined): string =>
  path === undefined || path === '' ? '' : path.startsWith('/') ? path : `/${path}`;

/** `host.domain/path`, as people write a route. */
export function urlOf(domain: string, flags: RouteFlags): string {
  const host = flags.hostname === undefined || flags.hostname === '' ? domain : `${flags.hostname}.${domain}`;
  return flags.port === undefined ? host + withSlash(flags.path) : `${domain}:${flags.port}`;
}

export async function findRoute(cf: Cf, domain: Domain, flags: RouteFlags): Promise<Route | undefined> {
  const query = {
    domain_guids: domain.guid,
    hosts: flags.hostname ?? '',
    paths: withSlash(flags.path),
    ports: flags.port,
  };
  return (await cf.client.list<Route>('/v3/routes', query)).resources[0];
}

async function createRoute(cf: Cf, domain: Domain, flags: RouteFlags): Promise<Route> {
  const relationships = { space: { data: { guid: requireSpace(cf).guid } }, domain: { data: { guid: domain.guid } } };
  const place =
    flags.port === undefined
      ? { ...(flags.hostname !== undefined && { host: flags.hostname }), path: withSlash(flags.path) }
      : { port: flags.port };
  const options = Object.fromEntries((flags.option ?? []).map((pair) => pair.split('=', 2)));
  const json = { ...place, relationships, ...(flags.option && { options }) };
  return (await cf.client.call<Route>('/v3/routes', { method: 'POST', json })).body;
}

export function registerRouteCommands(program: Command, cf: Cf): void {
  const { terminal, client, session } = cf;
  const name = (text: string): string => terminal.name(text);

  program
    .command('routes')
    .alias('r')
    .description('List all routes in the current space or the current organization')
    .option('--org-level', 'List all the routes for all spaces of current organization')
    .option('--labels <selector>', 'Selector to filter routes by labels')
    .action(async (flags: { orgLevel?: true; labels?: string }) => await listRoutes(cf, flags));

  program
    .command('create-route')
    .description('Create a route for later use')
    .argument('<domain>')
    .option('-n, --hostname <host>', 'Hostname for the HTTP route (required for shared domains)')
    .option('--path <path>', 'Path for the HTTP route')
    .option('--port <port>', 'Port for the TCP route', Number)
    .option('-o, --option <option>', 'Set the value of a per-route option', collect)
    .action(async (domain_name: string, flags: RouteFlags) => {
      const space = requireSpace(cf);
      const shown = urlOf(domain_name, flags);
      terminal.say(
        `Creating route ${name(shown)} for org ${name(space.org)} / space ${name(space.name)} as ${name(session.userName)}...`,
      );
      const domain = await findDomain(cf, domain_name);
      try {
        const route = await createRoute(cf, domain, flags);
        terminal.say(`Route ${name(route.url)} has been created.`);
      } catch (error) {
        if (!(error instanceof ApiError) || !error.message.startsWith('Route already exists')) throw error;
        terminal.warn(error.message);
      }
      terminal.ok();
    });

  program
    .command('delete-route')
    .description('Delete a route')
    .argument('<domain>')
    .option('-n, --hostname <host>', 'Hostname used to identify the HTTP route')
    .option('--path <path>', 'Path used to identify the HTTP route')
    .option('--port <port>', 'Port used to identify the TCP route', Number)
    .option('-f', 'Force deletion without confirmation')
    .action(async (domain_name: string, flags: RouteFlags & { f?: true }) => {
      requireUser(cf);
      const shown = urlOf(domain_name, flags);
      if (!flags.f && !/^y(es)?$/i.test(await terminal.ask(`Really delete the route ${shown}? [yN]`)))
        return terminal.say(`'${shown}' has not been deleted.`);
      terminal.say(`Deleting route ${name(shown)}...`);
      const route = await findRoute(cf, await findDomain(cf, domain_name), flags);
      if (route) await client.callAndWait(`/v3/routes/${route.guid}`, { method: 'DELETE' });
      else
        terminal.warn(
          `Unable to delete. Route with domain '${domain_name}', hostname '${flags.hostname ?? ''}', and path '${withSlash(flags.path) || '/'}' not found.`,
        );
      terminal.ok();
    });

  program
    .command('map-route')
    .description('Map a route to an app')
    .argument('<APP_NAME>')
    .argument('<domain>')
    .option('-n, --hostname <host>', 'Hostname for the HTTP route (required for shared domains)')
    .option('--path <path>', 'Path for the HTTP route')
    .option('--port <port>', 'Port for the TCP route', Number)
    .option('--app-protocol <protocol>', 'Protocol for the route destination (default: http1)')
    .option('--app-port <port>', 'App port for the route destination (default: 8080)', Number)
    .option('-o, --option <option>', 'Set the value of a per-route option', collect)
    .action(
      async (app_name: string, domain_name: string, flags: RouteFlags) =>
        await mapRoute(cf, [app_name, domain_name], flags),
    );

  program
    .command('unmap-route')
    .description('Remove a route from an app')
    .argument('<APP_NAME>')
    .argument('<domain>')
    .option('-n, --hostname <host>', 'Hostname used to identify the HTTP route')
    .option('--path <path>', 'Path used to identify the HTTP route')
    .option('--port <port>', 'Port used to identify the TCP route', Number)
    .action(async (app_name: string, domain_name: string, flags: RouteFlags) => {
      const app = await findApp(cf, app_name);
      const shown = urlOf(domain_name, flags);
      terminal.say(`Removing route ${name(shown)} from app ${name(app_name)} ${whereAndWho(cf)}...`);
      const route = await findRoute(cf, await findDomain(cf, domain_name), flags);
      if (!route)
        throw new CommandError(
          `Route with host '${flags.hostname ?? ''}', domain '${domain_name}', and path '${withSlash(flags.path) || '/'}' not found.`,
        );
      const destination = route.destinations.find((to) => to.app.guid === app.guid);
      if (destination)
        await client.call(`/v3/routes/${route.guid}/destinations/${destination.guid}`, { method: 'DELETE' });
      else terminal.warn('Route to be unmapped is not currently mapped to the application.');
      terminal.ok();
    });
}

async function mapRoute(cf: Cf, [app_name, domain_name]: readonly [string, string], flags: RouteFlags): Promise<void> {
  const { terminal, client } = cf;
  const app = await findApp(cf, app_name);
  const domain = await findDomain(cf, domain_name);
  let route = await findRoute(cf, domain, flags);
  if (!route) {
    terminal.say(
      `Creating route ${terminal.name(urlOf(domain_name, flags))} ${whereAndWho(cf).replace(/^in/, 'for')}...`,
    );
    route = await createRoute(cf, domain, flags);
    terminal.ok();
  }
  terminal.say(`Mapping route ${terminal.name(route.url)} to app ${terminal.name(app_name)} ${whereAndWho(cf)}...`);
  if (
    route.destinations.some(
      (to) => to.app.guid === app.guid && (flags.appPort === undefined || to.port === flags.appPort),
    )
  ) {
    terminal.say(`App '${app_name}' is already mapped to route '${route.url}'. Nothing has been updated.`);
  } else {
    const destination = {
      app: { guid: app.guid, process: { type: 'web' } },
      ...(flags.appProtocol !== undefined && { protocol: flags.appProtocol }),
      ...(flags.appPort !== undefined && { port: flags.appPort }),
    };
    await client.call(`/v3/routes/${route.guid}/destinations`, {
      method: 'POST',
      json: { destinations: [destination] },
    });
  }
  terminal.ok();
}

async function listRoutes(cf: Cf, flags: { orgLevel?: true; labels?: string }): Promise<void> {
  const { terminal, client, session } = cf;
  const org = requireOrg(cf);
  const user = terminal.name(session.userName);
  if (flags.orgLevel) terminal.say(`Getting routes for org ${terminal.name(org.name)} as ${user}...\n`);
  else
    terminal.say(
      `Getting routes for org ${terminal.name(org.name)} / space ${terminal.name(requireSpace(cf).name)} as ${user}...\n`,
    );
  const scope = flags.orgLevel ? { organization_guids: org.guid } : { space_guids: requireSpace(cf).guid };
  const { resources: routes } = await client.list<Route>('/v3/routes', {
    ...scope,
    per_page: 5000,
    label_selector: flags.labels,
  });
  if (routes.length === 0) return terminal.say('No routes found.');
  const [apps, spaces, domains] = await Promise.all([
    client.list<App>('/v3/apps', { ...scope, per_page: 5000 }),
    client.list<Named>('/v3/spaces', { organization_guids: org.guid, per_page: 5000 }),
    client.list<Domain>('/v3/domains', { per_page: 5000 }),
  ]);
  const nameOf = (list: readonly Named[], guid: string): string => list.find((item) => item.guid === guid)?.name ?? '';
  const rows = routes.map((route) => [
    nameOf(spaces.resources, route.relationships.space.data.guid),
    route.host,
    nameOf(domains.resources, route.relationships.domain.data.guid),
    route.port === null ? '' : String(route.port),
    route.path,
    route.protocol,
    [...new Set(route.destinations.map((to) => to.protocol))].join(', '),
    [...new Set(route.destinations.map((to) => String(to.port)))].join(', '),
    [...new Set(route.destinations.map((to) => nameOf(apps.resources, to.app.guid)))].join(', '),
    '',
    route.options?.loadbalancing === undefined ? '' : `loadbalancing=${route.options.loadbalancing}`,
  ]);
  terminal.table([
    [
      'space',
      'host',
      'domain',
      'port',
      'path',
      'protocol',
      'app-protocol',
      'app-port',
      'apps',
      'service instance',
      'options',
    ],
    ...rows,
  ]);
}
