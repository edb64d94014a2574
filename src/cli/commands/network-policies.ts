import type { Command } from 'commander';
import { findApp, findOrg, findSpace, requireSpace, requireUser, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { App, Named } from '../resources.ts';

/** As the policy server's API has it (`network_policy_v1` of the root document). */
interface Policy {
  source: { id: string };
  destination: { id: string; protocol: string; ports: { start: number; end: number } };
}

interface Destination {
  s?: string;
  o?: string;
  protocol?: string;
  port?: string;
}

const PATH = '/networking/v1/external/policies';

export function registerNetworkPolicyCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('network-policies')
    .description('List direct network traffic policies')
    .option('--source <SOURCE_APP>', 'Source app to filter results by')
    .action(async ({ source }: { source?: string }) => {
      const space = requireSpace(cf);
      const of = source === undefined ? '' : ` of app ${source}`;
      terminal.say(
        terminal.text`Listing network policies${of} in org ${space.org} / space ${space.name} as ${requireUser(cf)}...`,
      );
      terminal.say();
      const sources =
        source === undefined ? await appsOf(cf, { space_guids: space.guid }) : [await findApp(cf, source)];
      const names = new Map(sources.map(({ guid, name }) => [guid, name]));
      const policies = (await list(cf)).filter((policy) => names.has(policy.source.id));
      const places = await placesOf(
        cf,
        policies.map(({ destination }) => destination.id),
      );
      const rows = policies.map(({ source: { id }, destination }) => {
        const { name = '', space_name = '', org_name = '' } = places.get(destination.id) ?? {};
        const { start, end } = destination.ports;
        const ports = start === end ? String(start) : `${start}-${end}`;
        return [names.get(id) ?? '', name, destination.protocol, ports, space_name, org_name];
      });
      terminal.table([['source', 'destination', 'protocol', 'ports', 'destination space', 'destination org'], ...rows]);
    });

  for (const [name, verb] of [
    ['add-network-policy', 'Adding'],
    ['remove-network-policy', 'Removing'],
  ] as const) {
    program
      .command(`${name} <SOURCE_APP> <DESTINATION_APP>`)
      .description(
        verb === 'Adding'
          ? 'Create policy to allow direct network traffic from one app to another'
          : 'Remove network traffic policy of an app',
      )
      .option('--protocol <protocol>', 'Protocol to connect apps with (Default: tcp)')
      .option('--port <range>', 'Port or range of ports for connection to destination app (Default: 8080)')
      .option('-s <DESTINATION_SPACE_NAME>', 'The space of the destination app (Default: targeted space)')
      .option('-o <DESTINATION_ORG_NAME>', 'The org of the destination app (Default: targeted org)')
      .action(async (source: string, destination: string, options: Destination) => {
        const space = requireSpace(cf);
        const wanted = destinationOf(options);
        const space_guid = await spaceOf(cf, options);
        const user = requireUser(cf);
        terminal.say(
          options.s === undefined
            ? terminal.text`${verb} network policy from app ${source} to app ${destination} in org ${space.org} / space ${space.name} as ${user}...`
            : terminal.text`${verb} network policy from app ${source} in org ${space.org} / space ${space.name} to app ${destination} in org ${options.o ?? space.org} / space ${options.s} as ${user}...`,
        );
        const [from_app, to_app] = [await findApp(cf, source), await findApp(cf, destination, space_guid)];
        const policy = { source: { id: from_app.guid }, destination: { id: to_app.guid, ...wanted } };
        if (verb === 'Removing' && !(await isThere(cf, policy))) throw new CommandError('Policy does not exist.');
        const path = verb === 'Adding' ? PATH : `${PATH}/delete`;
        await client.call(path, { method: 'POST', json: { policies: [policy] } });
        terminal.ok();
      });
  }
}

/** Errors: CommandError when only one of protocol and port is given, or a port is none. */
function destinationOf({ protocol, port, s, o }: Destination): Pick<Policy['destination'], 'protocol' | 'ports'> {
  if (o !== undefined && s === undefined) {
    throw new CommandError('Destination space must be specified when a destination org is (-s).');
  }
  if (protocol === undefined && port === undefined) return { protocol: 'tcp', ports: { start: 8080, end: 8080 } };
  if (protocol === undefined || port === undefined) {
    throw new CommandError('Incorrect Usage: --protocol and --port flags must be specified together');
  }
  if (protocol !== 'tcp' && protocol !== 'udp') {
    throw new CommandError("Incorrect Usage: invalid argument for flag '--protocol' (expected tcp or udp)");
  }
  const [, start = '', end = start] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(port) ?? [];
  if (start === '') {
    throw new CommandError("Incorrect Usage: invalid argument for flag '--port' (expected int > 0 or a range)");
  }
  return { protocol, ports: { start: Number(start), end: Number(end) } };
}

async function spaceOf(cf: Cf, { s, o }: Destination): Promise<string | undefined> {
  if (s === undefined) return undefined;
  return (await findSpace(cf, s, o === undefined ? undefined : (await findOrg(cf, o)).guid)).guid;
}

async function list(cf: Cf): Promise<Policy[]> {
  return (await cf.client.call<{ policies: Policy[] }>(PATH)).body.policies;
}

async function isThere(cf: Cf, { source, destination }: Policy): Promise<boolean> {
  const { id, protocol, ports } = destination;
  return (await list(cf)).some(
    (held) =>
      held.source.id === source.id &&
      held.destination.id === id &&
      held.destination.protocol === protocol &&
      held.destination.ports.start === ports.start &&
      held.destination.ports.end === ports.end,
  );
}

async function appsOf(cf: Cf, query: Record<string, string>): Promise<App[]> {
  return (await cf.client.list<App>('/v3/apps', { per_page: 5000, ...query })).resources;
}

interface PlacedApp {
  name: string;
  space_name: string;
  org_name: string;
}

/** Names of apps by guid, with those of their space and organization. */
async function placesOf(cf: Cf, guids: readonly string[]): Promise<Map<string, PlacedApp>> {
  if (guids.length === 0) return new Map();
  const query = { guids: [...new Set(guids)].join(','), include: 'space.organization', per_page: 5000 };
  type Related = Named & { relationships: Record<string, { data: { guid: string } }> };
  const { resources, included } = await cf.client.list<Related>('/v3/apps', query);
  const spaces = new Map(((included['spaces'] ?? []) as Related[]).map((space) => [space.guid, space]));
  const orgs = new Map(((included['organizations'] ?? []) as Related[]).map((org) => [org.guid, org.name]));
  return new Map(
    resources.map((app) => {
      const space = spaces.get(app.relationships['space']?.data.guid ?? '');
      const org_name = orgs.get(space?.relationships['organization']?.data.guid ?? '') ?? '';
      return [app.guid, { name: app.name, space_name: space?.name ?? '', org_name }];
    }),
  );
}
