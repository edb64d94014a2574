import type { Command } from 'commander';
import { findOrg, findSpace, requireUser, type Cf } from '../context.ts';
import { ApiError, CommandError } from '../errors.ts';

/** The words of people for the API's roles, in the order in which they are listed. */
const ORG_ROLES = {
  OrgManager: { type: 'organization_manager', label: 'ORG MANAGER' },
  BillingManager: { type: 'organization_billing_manager', label: 'BILLING MANAGER' },
  OrgAuditor: { type: 'organization_auditor', label: 'ORG AUDITOR' },
} as const;
const SPACE_ROLES = {
  SpaceManager: { type: 'space_manager', label: 'SPACE MANAGER' },
  SpaceDeveloper: { type: 'space_developer', label: 'SPACE DEVELOPER' },
  SpaceSupporter: { type: 'space_supporter', label: 'SPACE SUPPORTER' },
  SpaceAuditor: { type: 'space_auditor', label: 'SPACE AUDITOR' },
} as const;

interface User {
  guid: string;
  username: string | null;
  presentation_name: string;
  origin: string | null;
}

interface Role {
  guid: string;
  type: string;
  relationships: { user: { data: { guid: string } } };
}

interface RoleFlags {
  client?: true;
  origin?: string;
}

/** Where a role holds: the API's filter, its relationship, and how it is told. */
interface Scope {
  query: Record<string, string>;
  relationship: Record<string, { data: { guid: string } }>;
  told: string;
  already: string;
}

export function registerRoleCommands(program: Command, cf: Cf): void {
  const { terminal } = cf;
  const withFlags = (command: Command): Command =>
    command
      .option('--client', 'USERNAME is the id of a client, not of a user')
      .option('--origin <origin>', 'Provider of identity that knows the user');

  program
    .command('org-users <ORG>')
    .description('Show org users by role')
    .option('-a, --all-users', 'All that have a role in the org or in its spaces, as one list')
    .action(async (org_name: string, flags: { allUsers?: true }) => {
      terminal.say(terminal.text`Getting users in org ${org_name} as ${requireUser(cf)}...`);
      terminal.say();
      const { query } = await orgScope(cf, org_name);
      const roles = await rolesOf(cf, query);
      if (flags.allUsers) return showUsers(cf, 'ORG USERS', roles);
      for (const { type, label } of Object.values(ORG_ROLES))
        showUsers(
          cf,
          label,
          roles.filter((role) => role.type === type),
        );
    });

  program
    .command('space-users <ORG> <SPACE>')
    .description('Show space users by role')
    .action(async (org_name: string, space_name: string) => {
      terminal.say(terminal.text`Getting users in org ${org_name} / space ${space_name} as ${requireUser(cf)}...`);
      terminal.say();
      const { query } = await spaceScope(cf, org_name, space_name);
      const roles = await rolesOf(cf, query);
      for (const { type, label } of Object.values(SPACE_ROLES))
        showUsers(
          cf,
          label,
          roles.filter((role) => role.type === type),
        );
    });

  withFlags(program.command('set-org-role <USERNAME> <ORG> <ROLE>').description('Assign an org role to a user')).action(
    async (name: string, org: string, role: string, flags: RoleFlags) => {
      const { type, shown } = roleNamed(ORG_ROLES, role);
      terminal.say(terminal.text`Assigning role ${shown} to user ${name} in org ${org} as ${requireUser(cf)}...`);
      await assign(cf, { name, flags }, { type, shown, scope: await orgScope(cf, org) });
    },
  );

  withFlags(
    program.command('unset-org-role <USERNAME> <ORG> <ROLE>').description('Remove an org role from a user'),
  ).action(async (name: string, org: string, role: string, flags: RoleFlags) => {
    const { type, shown } = roleNamed(ORG_ROLES, role);
    terminal.say(terminal.text`Removing role ${shown} from user ${name} in org ${org} as ${requireUser(cf)}...`);
    await remove(cf, { name, flags }, { type, scope: await orgScope(cf, org) });
  });

  withFlags(
    program.command('set-space-role <USERNAME> <ORG> <SPACE> <ROLE>').description('Assign a space role to a user'),
  ).action(async (...[name, org, space, role, flags]: [string, string, string, string, RoleFlags]) => {
    const { type, shown } = roleNamed(SPACE_ROLES, role);
    terminal.say(
      terminal.text`Assigning role ${shown} to user ${name} in org ${org} / space ${space} as ${requireUser(cf)}...`,
    );
    const scope = await spaceScope(cf, org, space);
    // A role in a space wants one in its org; that they have it is fine.
    await post(cf, { type: 'organization_user', user: who({ name, flags }), scope: scope.org }).catch(ignoreHad);
    await assign(cf, { name, flags }, { type, shown, scope });
  });

  withFlags(
    program.command('unset-space-role <USERNAME> <ORG> <SPACE> <ROLE>').description('Remove a space role from a user'),
  ).action(async (...[name, org, space, role, flags]: [string, string, string, string, RoleFlags]) => {
    const { type, shown } = roleNamed(SPACE_ROLES, role);
    terminal.say(
      terminal.text`Removing role ${shown} from user ${name} in org ${org} / space ${space} as ${requireUser(cf)}...`,
    );
    await remove(cf, { name, flags }, { type, scope: await spaceScope(cf, org, space) });
  });
}

function roleNamed(
  roles: Record<string, { type: string; label: string }>,
  asked: string,
): { type: string; shown: string } {
  const found = Object.entries(roles).find(([name]) => name.toLowerCase() === asked.toLowerCase());
  if (!found) {
    const names = Object.keys(roles).map((name) => `"${name}"`);
    throw new CommandError(`Incorrect Usage: ROLE must be ${names.slice(0, -1).join(', ')} or ${names.at(-1)}`);
  }
  return { type: found[1].type, shown: found[0] };
}

async function orgScope(cf: Cf, name: string): Promise<Scope> {
  const { guid } = await findOrg(cf, name);
  return {
    query: { organization_guids: guid },
    relationship: { organization: { data: { guid } } },
    told: `org '${name}'`,
    already: `in org '${name}'`,
  };
}

async function spaceScope(cf: Cf, org_name: string, name: string): Promise<Scope & { org: Scope }> {
  const org = await orgScope(cf, org_name);
  const { guid } = await findSpace(cf, name, org.query['organization_guids']);
  return {
    org,
    query: { space_guids: guid },
    relationship: { space: { data: { guid } } },
    told: `space '${name}'`,
    already: `in org '${org_name}' / space '${name}'`,
  };
}

async function rolesOf({ client }: Cf, query: Record<string, string>): Promise<(Role & { user: User })[]> {
  const { resources, included } = await client.list<Role>('/v3/roles', { ...query, include: 'user', per_page: 5000 });
  const users = new Map(((included['users'] ?? []) as User[]).map((user) => [user.guid, user]));
  return resources.flatMap((role) => {
    const user = users.get(role.relationships.user.data.guid);
    return user ? [{ ...role, user }] : [];
  });
}

function showUsers({ terminal }: Cf, label: string, roles: readonly { user: User }[]): void {
  terminal.say(terminal.style('bold', label));
  const users = [...new Map(roles.map(({ user }) => [user.guid, user])).values()];
  for (const { presentation_name, origin, username } of users.toSorted((a, b) =>
    a.presentation_name.localeCompare(b.presentation_name),
  ))
    terminal.say(`  ${presentation_name} (${username === null ? 'client' : (origin ?? '')})`);
  if (users.length === 0) terminal.say(`  No ${label} found`);
  terminal.say();
}

interface Grantee {
  name: string;
  flags: RoleFlags;
}

function who({ name, flags }: Grantee): Record<string, string> {
  if (flags.client && flags.origin !== undefined)
    throw new CommandError('Incorrect Usage: The following arguments cannot be used together: --client, --origin');
  if (flags.client) return { guid: name };
  return { username: name, ...(flags.origin !== undefined && { origin: flags.origin }) };
}

async function post(
  { client }: Cf,
  { type, user, scope }: { type: string; user: Record<string, string>; scope: Scope },
): Promise<void> {
  const relationships = { user: { data: user }, ...scope.relationship };
  await client.call('/v3/roles', { method: 'POST', json: { type, relationships } });
}

const hadAlready = (error: unknown): boolean => error instanceof ApiError && /already has/.test(error.message);

function ignoreHad(error: unknown): void {
  if (!hadAlready(error)) throw error;
}

async function assign(
  cf: Cf,
  grantee: Grantee,
  { type, shown, scope }: { type: string; shown: string; scope: Scope },
): Promise<void> {
  try {
    await post(cf, { type, user: who(grantee), scope });
  } catch (error) {
    if (!hadAlready(error)) throw error;
    cf.terminal.warn(`User '${grantee.name}' already has role '${shown}' ${scope.already}.`);
  }
  cf.terminal.ok();
}

async function remove(cf: Cf, grantee: Grantee, { type, scope }: { type: string; scope: Scope }): Promise<void> {
  const { client, terminal } = cf;
  const user = await findUser(cf, grantee);
  const query = { ...scope.query, types: type, user_guids: user.guid };
  // Without such a role there is nothing to do.
  const [role] = (await client.list<Role>('/v3/roles', query)).resources;
  if (role) await client.callAndWait(`/v3/roles/${role.guid}`, { method: 'DELETE' });
  terminal.ok();
}

async function findUser({ client }: Cf, { name, flags }: Grantee): Promise<User> {
  const query = flags.client
    ? { guids: name }
    : { usernames: name, ...(flags.origin !== undefined && { origins: flags.origin }) };
  const { resources } = await client.list<User>('/v3/users', query);
  const [user, ...more] = resources;
  if (!user) throw new CommandError(`User '${name}' does not exist.`);
  if (more.length > 0)
    throw new CommandError(
      `Ambiguous user. User with username '${name}' exists in the following origins: ${resources.map(({ origin }) => origin ?? '').join(', ')}. Specify an origin to disambiguate.`,
    );
  return user;
}
