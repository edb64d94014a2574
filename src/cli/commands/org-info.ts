import type { Command } from 'commander';
import { findOrg, findSpace, requireOrg, requireUser, type Cf } from '../context.ts';
import { ApiError } from '../errors.ts';
import type { Named } from '../resources.ts';

interface Org extends Named {
  relationships: { quota?: { data: { guid: string } | null } };
}

interface Space extends Named {
  relationships: { quota?: { data: { guid: string } | null } };
}

interface SecurityRule {
  protocol: string;
  destination: string;
  ports?: string;
  description?: string;
}

interface SecurityGroup extends Named {
  rules: SecurityRule[];
}

/** One org or space: shown, renamed, opened for ssh. */
export function registerOrgInfoCommands(program: Command, cf: Cf): void {
  const { terminal, client, session } = cf;

  program
    .command('org <ORG>')
    .description('Show org info')
    .option('--guid', "The org's guid alone")
    .action(async (name: string, flags: { guid?: true }) => {
      if (flags.guid) return terminal.say((await findOrg(cf, name)).guid);
      terminal.say(terminal.text`Getting info for org ${name} as ${requireUser(cf)}...`);
      terminal.say();
      await showOrg(cf, await findOrg<Org>(cf, name));
    });

  program
    .command('rename-org <ORG> <NEW_ORG_NAME>')
    .description('Rename an org')
    .action(async (name: string, new_name: string) => {
      terminal.say(terminal.text`Renaming org ${name} to ${new_name} as ${requireUser(cf)}...`);
      const org = await findOrg(cf, name);
      await client.call(`/v3/organizations/${org.guid}`, { method: 'PATCH', json: { name: new_name } });
      if (session.data.OrganizationFields.GUID === org.guid)
        session.update({ OrganizationFields: { ...session.data.OrganizationFields, Name: new_name } });
      terminal.ok();
    });

  program
    .command('space <SPACE>')
    .description('Show space info')
    .option('--guid', "The space's guid alone")
    .option('--security-group-rules', 'Rules of all security groups of the space as well')
    .action(async (name: string, flags: { guid?: true; securityGroupRules?: true }) => {
      const org = requireOrg(cf);
      if (flags.guid) return terminal.say((await findSpace(cf, name)).guid);
      terminal.say(terminal.text`Getting info for space ${name} in org ${org.name} as ${session.userName}...`);
      terminal.say();
      await showSpace(cf, await findSpace<Space>(cf, name), flags.securityGroupRules ?? false);
    });

  program
    .command('rename-space <SPACE> <NEW_SPACE_NAME>')
    .description('Rename a space')
    .action(async (name: string, new_name: string) => {
      requireOrg(cf);
      terminal.say(terminal.text`Renaming space ${name} to ${new_name} as ${session.userName}...`);
      const space = await findSpace(cf, name);
      await client.call(`/v3/spaces/${space.guid}`, { method: 'PATCH', json: { name: new_name } });
      if (session.data.SpaceFields.GUID === space.guid)
        session.update({ SpaceFields: { ...session.data.SpaceFields, Name: new_name } });
      terminal.ok();
    });

  for (const [command, description, doing, enabled] of [
    ['allow-space-ssh', 'Allow SSH access for the space', 'Enabling', true],
    ['disallow-space-ssh', 'Disallow SSH access for the space', 'Disabling', false],
  ] as const) {
    program
      .command(`${command} <SPACE>`)
      .description(description)
      .action(async (name: string) => {
        requireOrg(cf);
        terminal.say(`${doing} ssh support ` + terminal.text`for space ${name} as ${session.userName}...`);
        const path = `/v3/spaces/${(await findSpace(cf, name)).guid}/features/ssh`;
        if ((await client.get<{ enabled: boolean }>(path)).enabled === enabled)
          terminal.say(`ssh support for space '${name}' is already ${enabled ? 'enabled' : 'disabled'}.`);
        else await client.call(path, { method: 'PATCH', json: { enabled } });
        terminal.ok();
      });
  }

  program
    .command('space-ssh-allowed <SPACE>')
    .description('Reports whether SSH is allowed in a space')
    .action(async (name: string) => {
      const space = await findSpace(cf, name);
      const { enabled } = await client.get<{ enabled: boolean }>(`/v3/spaces/${space.guid}/features/ssh`);
      terminal.say(`ssh support is ${enabled ? 'enabled' : 'disabled'} in space '${name}'.`);
    });
}

const inOrder = (list: readonly Named[]): string => list.map(({ name }) => name).join(', ');
const names = (list: readonly Named[]): string =>
  list
    .map(({ name }) => name)
    .toSorted()
    .join(', ');

async function showOrg({ terminal, client }: Cf, org: Org): Promise<void> {
  const quota_guid = org.relationships.quota?.data?.guid;
  const [domains, spaces, segments, quota, assigned] = await Promise.all([
    client.list<Named>(`/v3/organizations/${org.guid}/domains`, { per_page: 5000 }),
    client.list<Named>('/v3/spaces', { organization_guids: org.guid, per_page: 5000 }),
    client.list<Named>('/v3/isolation_segments', { organization_guids: org.guid, per_page: 5000 }),
    quota_guid === undefined ? undefined : client.get<Named>(`/v3/organization_quotas/${quota_guid}`),
    client.get<{ data: { guid: string } | null }>(
      `/v3/organizations/${org.guid}/relationships/default_isolation_segment`,
    ),
  ]);
  const marked = segments.resources.map((one) => ({
    ...one,
    name: one.guid === assigned.data?.guid ? `${one.name} (default)` : one.name,
  }));
  terminal.facts([
    ['name:', org.name],
    ['domains:', names(domains.resources)],
    ['quota:', quota?.name ?? ''],
    ['spaces:', names(spaces.resources)],
    ['isolation segments:', names(marked)],
  ]);
}

async function showSpace(cf: Cf, space: Space, showsRules: boolean): Promise<void> {
  const { terminal, client } = cf;
  const quota_guid = space.relationships.quota?.data?.guid;
  const scope = { space_guids: space.guid, per_page: 5000 };
  const [apps, services, running, staging, quota, segment] = await Promise.all([
    client.list<Named>('/v3/apps', scope),
    // A platform without services has nothing to show of them.
    client.list<Named>('/v3/service_instances', scope).catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 404) return { resources: [] };
      throw error;
    }),
    client.list<SecurityGroup>(`/v3/spaces/${space.guid}/running_security_groups`, { per_page: 5000 }),
    client.list<SecurityGroup>(`/v3/spaces/${space.guid}/staging_security_groups`, { per_page: 5000 }),
    quota_guid === undefined ? undefined : client.get<Named>(`/v3/space_quotas/${quota_guid}`),
    isolationSegment(cf, space),
  ]);
  terminal.facts([
    ['name:', space.name],
    ['org:', requireOrg(cf).name],
    ['apps:', names(apps.resources)],
    ['services:', names(services.resources)],
    ['isolation segment:', segment],
    ['quota:', quota?.name ?? ''],
    ['running security groups:', inOrder(running.resources)],
    ['staging security groups:', inOrder(staging.resources)],
  ]);
  if (!showsRules) return;
  terminal.say();
  const rows = [
    ...running.resources.flatMap((group) => ruleRows(group, 'running')),
    ...staging.resources.flatMap((group) => ruleRows(group, 'staging')),
  ].toSorted((a, b) => (a[0] ?? '').localeCompare(b[0] ?? ''));
  if (rows.length === 0) return terminal.say('No security group rules found.');
  terminal.table([['security group', 'destination', 'ports', 'protocol', 'lifecycle', 'description'], ...rows]);
}

async function isolationSegment(cf: Cf, space: Space): Promise<string> {
  type Assigned = { data: { guid: string } | null };
  const { client } = cf;
  const own = await client.get<Assigned>(`/v3/spaces/${space.guid}/relationships/isolation_segment`);
  const path = `/v3/organizations/${requireOrg(cf).guid}/relationships/default_isolation_segment`;
  const guid = own.data?.guid ?? (await client.get<Assigned>(path)).data?.guid;
  if (guid === undefined) return '';
  const { name } = await client.get<Named>(`/v3/isolation_segments/${guid}`);
  return own.data ? name : `${name} (org default)`;
}

function ruleRows({ name, rules }: SecurityGroup, lifecycle: string): string[][] {
  return rules.map(({ destination, ports, protocol, description }) => [
    name,
    destination,
    ports ?? '',
    protocol,
    lifecycle,
    description ?? '',
  ]);
}
