import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { findByName, findOrg, findSpace, requireUser, unlessDone, type Cf } from '../context.ts';
import { CommandError, notFoundError } from '../errors.ts';
import type { Named } from '../resources.ts';

interface SecurityGroup extends Named {
  rules: object[];
  globally_enabled: { running: boolean; staging: boolean };
  relationships: Record<'running_spaces' | 'staging_spaces', { data: { guid: string }[] }>;
}

interface Space extends Named {
  relationships: { organization: { data: { guid: string } } };
}

const PATH = '/v3/security_groups';
const TIP =
  "TIP: If Dynamic ASG's are enabled, changes will automatically apply for running and staging applications. Otherwise, changes will require an app restart (for running) or restage (for staging) to apply to existing applications.";

export function registerSecurityGroupCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('security-groups')
    .description('List all security groups')
    .action(async () => {
      terminal.say(terminal.text`Getting security groups as ${requireUser(cf)}...`);
      terminal.say();
      const { resources } = await client.list<SecurityGroup>(PATH, { per_page: 5000 });
      if (resources.length === 0) return terminal.say('No security groups found.');
      const places = await placesOf(cf, resources);
      const rows = resources.flatMap((group) => {
        const own = places(group);
        return own.length === 0
          ? [[group.name, '', '', '']]
          : own.map(({ org, space, lifecycle }) => [group.name, org, space, lifecycle]);
      });
      terminal.table([['name', 'organization', 'space', 'lifecycle'], ...rows]);
    });

  program
    .command('security-group <SECURITY_GROUP>')
    .description('Show a single security group')
    .action(async (name: string) => {
      terminal.say(terminal.text`Getting info for security group ${name} as ${requireUser(cf)}...`);
      terminal.say();
      const group = await findGroup(cf, name);
      terminal.facts([
        ['name:', group.name],
        ['rules:', ''],
      ]);
      terminal.say(`${JSON.stringify(group.rules.map(inOrder), undefined, 2)}\n\n`);
      const places = (await placesOf(cf, [group]))(group).filter(({ space }) => space !== '<all>');
      if (places.length === 0) return terminal.say('No spaces assigned');
      terminal.table([['organization', 'space'], ...places.map(({ org, space }) => [org, space])]);
    });

  program
    .command('create-security-group <SECURITY_GROUP> <PATH_TO_JSON_RULES_FILE>')
    .description('Create a security group')
    .action(async (name: string, file: string) => {
      const rules = readRules(file);
      terminal.say(terminal.text`Creating security group ${name} as ${requireUser(cf)}...`);
      terminal.say();
      await unlessDone(
        cf,
        { when: /already exists|must be unique/, say: `Security group with name '${name}' already exists.` },
        async () => await client.call(PATH, { method: 'POST', json: { name, rules } }),
      );
      terminal.ok();
    });

  program
    .command('update-security-group <SECURITY_GROUP> <PATH_TO_JSON_RULES_FILE>')
    .description('Update a security group')
    .action(async (name: string, file: string) => {
      const rules = readRules(file);
      terminal.say(terminal.text`Updating security group ${name} as ${requireUser(cf)}...`);
      terminal.say();
      const { guid } = await findGroup(cf, name);
      await client.call(`${PATH}/${guid}`, { method: 'PATCH', json: { rules } });
      okWithTip(cf, '\n');
    });

  program
    .command('delete-security-group <SECURITY_GROUP>')
    .description('Deletes a security group')
    .option('-f, --force', 'Do not ask first')
    .action(async (name: string, flags: { force?: true }) => {
      const user = requireUser(cf);
      if (!(await terminal.confirm(`Really delete the security group ${name}?`, flags.force)))
        return terminal.say(`Security group '${name}' has not been deleted.`);
      terminal.say(terminal.text`Deleting security group ${name} as ${user}...`);
      const group = await findByName<SecurityGroup>(cf, PATH, name);
      if (group) await client.callAndWait(`${PATH}/${group.guid}`, { method: 'DELETE' });
      else terminal.warn(`Security group '${name}' does not exist.`);
      okWithTip(cf, '\n');
    });

  const lifecycle = ['--lifecycle <lifecycle>', 'running or staging', 'running'] as const;
  program
    .command('bind-security-group <SECURITY_GROUP> <ORG>')
    .description('Bind a security group to a particular space, or all existing spaces of an org')
    .option(...lifecycle)
    .option('--space <space>', 'Space to bind to; all that the org has otherwise')
    .action(
      async (name: string, org: string, flags: { lifecycle: string; space?: string }) =>
        await bindGroup(cf, { name, org }, flags),
    );

  program
    .command('unbind-security-group <SECURITY_GROUP> [ORG] [SPACE]')
    .description('Unbind a security group from a space')
    .option(...lifecycle)
    .action(async (...[name, org, space, flags]: [string, string | undefined, string | undefined, BindFlags]) => {
      await unbindGroup(cf, { name, org, space }, flags);
    });

  for (const phase of ['running', 'staging'] as const) registerGlobal(program, cf, phase);
}

interface BindFlags {
  lifecycle: string;
  space?: string;
}

/** Groups that hold for every space in one phase. */
function registerGlobal(program: Command, cf: Cf, phase: 'running' | 'staging'): void {
  const { terminal, client } = cf;
  const setGlobal = async (name: string, isOn: boolean): Promise<void> => {
    const { guid } = await findGroup(cf, name);
    await client.call(`${PATH}/${guid}`, { method: 'PATCH', json: { globally_enabled: { [phase]: isOn } } });
    okWithTip(cf);
  };

  program
    .command(`${phase}-security-groups`)
    .description(`List security groups globally configured for ${phase} applications`)
    .action(async () => {
      terminal.say(`Getting global ${phase} security groups as ${terminal.name(requireUser(cf))}...\n`);
      const query = { [`globally_enabled_${phase}`]: 'true', per_page: 5000 };
      const { resources } = await client.list<Named>(PATH, query);
      if (resources.length === 0) return terminal.say(`No global ${phase} security groups found.`);
      terminal.table([['name'], ...resources.map(({ name }) => [name])]);
    });

  program
    .command(`bind-${phase}-security-group <SECURITY_GROUP>`)
    .description(
      phase === 'running'
        ? 'Bind a security group to the list of security groups to be used for running applications'
        : 'Bind a security group to the list of security groups to be used for staging applications globally',
    )
    .action(async (name: string) => {
      terminal.say(`Binding security group ${terminal.name(name)} to ${phase} as ${terminal.name(requireUser(cf))}...`);
      await setGlobal(name, true);
    });

  program
    .command(`unbind-${phase}-security-group <SECURITY_GROUP>`)
    .description(`Unbind a security group from the set of security groups for ${phase} applications globally`)
    .action(async (name: string) => {
      const user = terminal.name(requireUser(cf));
      terminal.say(`Unbinding security group ${terminal.name(name)} from defaults for ${phase} as ${user}...`);
      await setGlobal(name, false);
    });
}

function okWithTip({ terminal }: Cf, before = ''): void {
  terminal.ok();
  terminal.say(before + TIP);
}

async function findGroup(cf: Cf, name: string): Promise<SecurityGroup> {
  const group = await findByName<SecurityGroup>(cf, PATH, name);
  if (!group) throw notFoundError('Security group', name);
  return group;
}

/** Errors: CommandError when the file is missing or holds something else than a list. */
function readRules(file: string): unknown {
  let rules: unknown;
  try {
    rules = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new CommandError(`Incorrect json format: ${file} is not valid JSON: ${error.message}`, { cause: error });
    throw new CommandError(`The specified path '${file}' cannot be read.`, { cause: error });
  }
  if (!Array.isArray(rules)) throw new CommandError(`Incorrect json format: ${file} must hold a list of rules.`);
  return rules;
}

/** A rule's fields as people write them, where JSON of the API has them in any order. */
function inOrder(rule: object): object {
  const ORDER = ['protocol', 'destination', 'ports', 'type', 'code', 'description', 'log'];
  const entries = Object.entries(rule).filter(([, value]) => value !== null);
  return Object.fromEntries(entries.toSorted(([a], [b]) => ORDER.indexOf(a) - ORDER.indexOf(b)));
}

interface Place {
  org: string;
  space: string;
  lifecycle: string;
}

/** Where groups hold, by names; `<all>` is everywhere. */
async function placesOf({ client }: Cf, groups: readonly SecurityGroup[]): Promise<(group: SecurityGroup) => Place[]> {
  const guids = groups.flatMap(({ relationships: { running_spaces, staging_spaces } }) =>
    [...running_spaces.data, ...staging_spaces.data].map(({ guid }) => guid),
  );
  const spaces = new Map<string, Space>();
  const orgs = new Map<string, string>();
  const all = [...new Set(guids)];
  // Guids are long, and so must not be the address of a page.
  for (let at = 0; at < all.length; at += 50) {
    const found = await client.list<Space>('/v3/spaces', {
      guids: all.slice(at, at + 50).join(','),
      include: 'organization',
      per_page: 5000,
    });
    for (const space of found.resources) spaces.set(space.guid, space);
    for (const org of (found.included['organizations'] ?? []) as Named[]) orgs.set(org.guid, org.name);
  }
  const inSpaces = ({ relationships }: SecurityGroup, lifecycle: 'running' | 'staging'): Place[] =>
    relationships[`${lifecycle}_spaces`].data.flatMap(({ guid }) => {
      const space = spaces.get(guid);
      if (!space) return [];
      return [{ org: orgs.get(space.relationships.organization.data.guid) ?? '', space: space.name, lifecycle }];
    });
  return (group) => [
    ...(['staging', 'running'] as const)
      .filter((lifecycle) => group.globally_enabled[lifecycle])
      .map((lifecycle) => ({ org: '<all>', space: '<all>', lifecycle })),
    ...inSpaces(group, 'running'),
    ...inSpaces(group, 'staging'),
  ];
}

function checkLifecycle(lifecycle: string): void {
  if (lifecycle !== 'running' && lifecycle !== 'staging')
    throw new CommandError("Incorrect Usage: Invalid value for '--lifecycle' (running or staging)");
}

async function bindGroup(
  cf: Cf,
  { name, org: org_name }: { name: string; org: string },
  flags: BindFlags,
): Promise<void> {
  const { terminal, client } = cf;
  const { lifecycle } = flags;
  checkLifecycle(lifecycle);
  const user = requireUser(cf);
  const head = `Assigning ${lifecycle} security group `;
  if (flags.space === undefined)
    terminal.say(`${head}${terminal.text`${name} to all spaces in org ${org_name} as ${user}...`}\n`);
  const group = await findGroup(cf, name);
  const org = await findOrg(cf, org_name);
  const spaces =
    flags.space === undefined
      ? (await client.list<Named>('/v3/spaces', { organization_guids: org.guid, per_page: 5000 })).resources
      : [await findSpace(cf, flags.space, org.guid)];
  if (spaces.length === 0) terminal.say(`No spaces in org ${org_name}.`);
  const bind = async (some: readonly Named[]): Promise<void> => {
    await client.call(`${PATH}/${group.guid}/relationships/${lifecycle}_spaces`, {
      method: 'POST',
      json: { data: some.map(({ guid }) => ({ guid })) },
    });
  };
  if (spaces.length > 0) {
    const told = spaces.map((space) => terminal.name(space.name)).join(', ');
    const word = spaces.length === 1 ? 'space' : 'spaces';
    terminal.say(`${head}${terminal.name(name)} to ${word} ${told} in org ${terminal.text`${org_name} as ${user}...`}`);
    await bind(spaces);
  }
  okWithTip(cf);
}

async function unbindGroup(
  cf: Cf,
  asked: { name: string; org: string | undefined; space: string | undefined },
  { lifecycle }: BindFlags,
): Promise<void> {
  const { terminal, client, session } = cf;
  checkLifecycle(lifecycle);
  const user = requireUser(cf);
  if (asked.org !== undefined && asked.space === undefined)
    throw new CommandError('Incorrect Usage: the required argument `SPACE` was not provided');
  const org_name = asked.org ?? session.data.OrganizationFields.Name;
  const space_name = asked.space ?? session.data.SpaceFields.Name;
  if (org_name === '' || space_name === '')
    throw new CommandError("No org and space targeted, use 'cf target -o ORG -s SPACE' to target an org and space");
  terminal.say(
    `Unbinding ${lifecycle} security group ` +
      terminal.text`${asked.name} from org ${org_name} / space ${space_name} as ${user}...`,
  );
  const group = await findGroup(cf, asked.name);
  const space = await findSpace(cf, space_name, (await findOrg(cf, org_name)).guid);
  const path = `${PATH}/${group.guid}/relationships/${lifecycle}_spaces/${space.guid}`;
  await unlessDone(
    cf,
    {
      when: /not (currently )?bound|not found|Unable to unbind/,
      say: `Security group ${asked.name} not bound to space ${space_name} for lifecycle phase '${lifecycle}'.`,
    },
    async () => await client.call(path, { method: 'DELETE' }),
  );
  okWithTip(cf);
}
