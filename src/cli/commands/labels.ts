import type { Command } from 'commander';
import { requireOrg, requireSpace, requireUser, type Cf } from '../context.ts';
import { CommandError, notFoundError } from '../errors.ts';

interface Labelled {
  guid: string;
  metadata?: { labels?: Record<string, string> };
}

interface LabelFlags {
  stack?: string;
  lifecycle?: string;
  broker?: string;
  offering?: string;
}

interface Kind {
  path: string;
  title: string;
  scope?: 'org' | 'space';
}

/** What can be labelled, by the words of people. */
const KINDS: Record<string, Kind> = {
  app: { path: '/v3/apps', title: 'App', scope: 'space' },
  buildpack: { path: '/v3/buildpacks', title: 'Buildpack' },
  domain: { path: '/v3/domains', title: 'Domain' },
  org: { path: '/v3/organizations', title: 'Organization' },
  route: { path: '/v3/routes', title: 'Route', scope: 'space' },
  'service-broker': { path: '/v3/service_brokers', title: 'Service broker' },
  'service-instance': { path: '/v3/service_instances', title: 'Service instance', scope: 'space' },
  'service-offering': { path: '/v3/service_offerings', title: 'Service offering' },
  'service-plan': { path: '/v3/service_plans', title: 'Service plan' },
  space: { path: '/v3/spaces', title: 'Space', scope: 'org' },
  stack: { path: '/v3/stacks', title: 'Stack' },
};

export function registerLabelCommands(program: Command, cf: Cf): void {
  const { terminal } = cf;
  const withFlags = (command: Command): Command =>
    command
      .option('-s, --stack <stack>', 'Stack of the buildpack, where its name is not enough')
      .option('-l, --lifecycle <lifecycle>', 'Lifecycle of the buildpack, where its name is not enough')
      .option('-b, --broker <broker>', 'Broker of the service offering or plan, where its name is not enough')
      .option('-e, --offering <offering>', 'Offering of the service plan, where its name is not enough');

  withFlags(
    program
      .command('labels <RESOURCE> <RESOURCE_NAME>')
      .description('List all labels (key-value pairs) for an API resource'),
  ).action(async (resource: string, name: string, flags: LabelFlags) => {
    const kind = kindOf(resource, flags);
    terminal.say(
      `Getting labels for ${resource} ${place(cf, kind, name, flags)}...${kind.scope === undefined ? '\n' : ''}`,
    );
    const found = await findLabelled(cf, kind, name, flags);
    terminal.say();
    const labels = Object.entries(found.metadata?.labels ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
    if (labels.length === 0) return terminal.say('No labels found.');
    terminal.table([['key', 'value'], ...labels]);
  });

  withFlags(
    program
      .command('set-label <RESOURCE> <RESOURCE_NAME> <KEY=VALUE...>')
      .description('Set a label (key-value pairs) for an API resource'),
  ).action(async (...[resource, name, pairs, flags]: [string, string, string[], LabelFlags]) => {
    const labels = Object.fromEntries(
      pairs.map((pair) => {
        const equals = pair.indexOf('=');
        if (equals < 1) throw new CommandError(`Metadata error: no value provided for label '${pair}'`);
        return [pair.slice(0, equals), pair.slice(equals + 1)];
      }),
    );
    await change(cf, { verb: 'Setting', resource, name, flags }, labels);
  });

  withFlags(
    program
      .command('unset-label <RESOURCE> <RESOURCE_NAME> <KEY...>')
      .description('Unset a label (key-value pairs) for an API resource'),
  ).action(async (...[resource, name, keys, flags]: [string, string, string[], LabelFlags]) => {
    await change(cf, { verb: 'Removing', resource, name, flags }, Object.fromEntries(keys.map((key) => [key, null])));
  });
}

interface Change {
  verb: string;
  resource: string;
  name: string;
  flags: LabelFlags;
}

async function change(cf: Cf, of: Change, labels: Record<string, string | null>): Promise<void> {
  const { resource, name, flags } = of;
  const kind = kindOf(resource, flags);
  cf.terminal.say(`${of.verb} label(s) for ${resource.toLowerCase()} ${place(cf, kind, name, flags)}...`);
  const found = await findLabelled(cf, kind, name, flags);
  await cf.client.callAndWait(`${kind.path}/${found.guid}`, { method: 'PATCH', json: { metadata: { labels } } });
  cf.terminal.ok();
}

/** Errors: CommandError for what has no labels, and for flags that do not go with it. */
function kindOf(resource: string, flags: LabelFlags): Kind {
  const word = resource.toLowerCase();
  const kind = KINDS[word];
  if (!kind) throw new CommandError(`Unsupported resource type of '${resource}'`);
  const fits: Record<keyof LabelFlags, readonly string[]> = {
    stack: ['buildpack'],
    lifecycle: ['buildpack'],
    broker: ['service-offering', 'service-plan'],
    offering: ['service-plan'],
  };
  for (const flag of ['stack', 'lifecycle', 'broker', 'offering'] as const) {
    if (flags[flag] !== undefined && !fits[flag].includes(word))
      throw new CommandError(
        `Incorrect Usage: The following arguments cannot be used together: ${resource}, --${flag}, -${flag === 'offering' ? 'o' : flag[0]}`,
      );
  }
  return kind;
}

function place(cf: Cf, { scope }: Kind, name: string, flags: LabelFlags): string {
  const text = cf.terminal.text.bind(cf.terminal);
  const user = requireUser(cf);
  if (scope === 'space') {
    const space = requireSpace(cf);
    return text`${name} in org ${space.org} / space ${space.name} as ${user}`;
  }
  if (scope === 'org') return text`${name} in org ${requireOrg(cf).name} as ${user}`;
  const parts = [
    ...(flags.stack === undefined ? [] : [text` with stack ${flags.stack}`]),
    ...(flags.lifecycle === undefined ? [] : [text` with lifecycle ${flags.lifecycle}`]),
  ];
  const from = [
    ...(flags.offering === undefined ? [] : [text`service offering ${flags.offering}`]),
    ...(flags.broker === undefined ? [] : [text`service broker ${flags.broker}`]),
  ];
  return text`${name}` + parts.join('') + (from.length > 0 ? ` from ${from.join(' / ')}` : '') + text` as ${user}`;
}

async function findLabelled(cf: Cf, kind: Kind, name: string, flags: LabelFlags): Promise<Labelled> {
  const { client } = cf;
  if (kind === KINDS['route']) return await findRouteByUrl(cf, name);
  const query = {
    names: name.replaceAll(',', '%2C'),
    stacks: flags.stack,
    lifecycle: flags.lifecycle,
    service_broker_names: flags.broker,
    service_offering_names: flags.offering,
    ...(kind.scope === 'space' && { space_guids: requireSpace(cf).guid }),
    ...(kind.scope === 'org' && { organization_guids: requireOrg(cf).guid }),
  };
  const [found, another] = (await client.list<Labelled>(kind.path, query)).resources;
  if (!found) throw notFoundError(kind.title, name);
  if (another)
    throw new CommandError(
      kind.title === 'Buildpack'
        ? `Multiple buildpacks named ${name} found. Specify a stack name by using a '-s' flag.`
        : `${kind.title} '${name}' is provided by several. Use flags to tell which one is meant.`,
    );
  return found;
}

/** A route is named by its address. */
async function findRouteByUrl({ client, ...cf }: Cf, url: string): Promise<Labelled> {
  const query = { space_guids: requireSpace({ client, ...cf }).guid, per_page: 5000 };
  const { resources } = await client.list<Labelled & { url: string }>('/v3/routes', query);
  const found = resources.find((route) => route.url === url);
  if (!found) throw notFoundError('Route', url);
  return found;
}
