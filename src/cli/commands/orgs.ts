import type { Command } from 'commander';
import { findByName, requireOrg, requireUser, type Cf } from '../context.ts';
import { ApiError, CommandError, notFoundError } from '../errors.ts';
import type { Named } from '../resources.ts';

/** Runs a creation that may find its work done: the API's text for that is shown, and all is well. */
async function unlessThere(cf: Cf, text: RegExp, create: () => Promise<unknown>, isShown = true): Promise<void> {
  try {
    await create();
  } catch (error) {
    if (!(error instanceof ApiError) || !text.test(error.message)) throw error;
    if (isShown) cf.terminal.warn(error.message);
  }
}

async function confirm(cf: Cf, what: string, isForced: boolean): Promise<boolean> {
  if (isForced) return true;
  const answer = await cf.terminal.ask(`${what} [yN]`);
  return /^y(es)?$/i.test(answer.trim());
}

export function registerOrgCommands(program: Command, cf: Cf): void {
  const { terminal, client, session } = cf;
  const name = (text: string): string => terminal.name(text);

  program
    .command('orgs')
    .alias('o')
    .description('List all orgs')
    .option('--labels <selector>', 'Selector to filter orgs by labels')
    .action(async ({ labels }: { labels?: string }) => {
      terminal.say(`Getting orgs as ${name(requireUser(cf))}...\n`);
      const { resources } = await client.list<Named>('/v3/organizations', {
        order_by: 'name',
        per_page: 5000,
        label_selector: labels,
      });
      if (resources.length === 0) return terminal.say('No orgs found.');
      terminal.table([['name'], ...resources.map((org) => [org.name])]);
    });

  program
    .command('create-org')
    .alias('co')
    .description('Create an org')
    .argument('<org>')
    .option('-q, --quota <quota>', 'Quota to assign to the newly created org')
    .action(async (org: string, flags: { quota?: string }) => {
      terminal.say(`Creating org ${name(org)} as ${name(requireUser(cf))}...`);
      await unlessThere(
        cf,
        /^Organization '.*' already exists\.$/,
        async () => await client.call('/v3/organizations', { method: 'POST', json: { name: org } }),
      );
      terminal.ok();
      if (flags.quota !== undefined) await assignOrgQuota(cf, org, flags.quota);
      terminal.say(`\nTIP: Use 'cf target -o "${org}"' to target new org`);
    });

  program
    .command('delete-org')
    .description('Delete an org')
    .argument('<org>')
    .option('-f', 'Force deletion without confirmation')
    .action(async (org: string, flags: { f?: true }) => {
      const user = requireUser(cf);
      if (
        !(await confirm(
          cf,
          `Really delete the org ${org}, including its spaces, apps, service instances, routes, private domains and space-scoped service brokers?`,
          flags.f ?? false,
        ))
      ) {
        return terminal.say(`Organization '${org}' has not been deleted.`);
      }
      terminal.say(`Deleting org ${name(org)} as ${name(user)}...`);
      const found = await findByName<Named>(cf, '/v3/organizations', org);
      if (found) await client.callAndWait(`/v3/organizations/${found.guid}`, { method: 'DELETE' });
      else terminal.warn(`Organization '${org}' does not exist.`);
      terminal.ok();
      if (found && session.data.OrganizationFields.GUID === found.guid) session.clearTarget();
    });

  program
    .command('spaces')
    .description('List all spaces in an org')
    .option('--labels <selector>', 'Selector to filter spaces by labels')
    .action(async ({ labels }: { labels?: string }) => {
      const org = requireOrg(cf);
      terminal.say(`Getting spaces in org ${name(org.name)} as ${name(session.userName)}...\n`);
      const query = { order_by: 'name', per_page: 5000, organization_guids: org.guid, label_selector: labels };
      const { resources } = await client.list<Named>('/v3/spaces', query);
      if (resources.length === 0) return terminal.say('No spaces found.');
      terminal.table([['name'], ...resources.map((space) => [space.name])]);
    });

  program
    .command('create-space')
    .alias('csp')
    .description('Create a space')
    .argument('<space>')
    .option('-o <org>', 'Organization')
    .action(async (space: string, flags: { o?: string }) => await createSpace(cf, space, flags.o));

  program
    .command('delete-space')
    .description('Delete a space')
    .argument('<space>')
    .option('-o <org>', 'Delete space within specified org')
    .option('-f', 'Force deletion without confirmation')
    .action(async (space: string, flags: { o?: string; f?: true }) => {
      const org = await orgOf(cf, flags.o);
      if (!(await confirm(cf, `Really delete the space ${space}?`, flags.f ?? false)))
        return terminal.say('Delete cancelled');
      terminal.say(`Deleting space ${name(space)} in org ${name(org.name)} as ${name(session.userName)}...`);
      const found = await findByName<Named>(cf, '/v3/spaces', space, { organization_guids: org.guid });
      if (found) await client.callAndWait(`/v3/spaces/${found.guid}`, { method: 'DELETE' });
      else terminal.warn(`Space '${space}' does not exist.`);
      terminal.ok();
      if (found && session.data.SpaceFields.GUID === found.guid) {
        session.update({ SpaceFields: { GUID: '', Name: '', AllowSSH: false } });
        terminal.say("TIP: No space targeted, use 'cf target -s' to target a space.");
      }
    });
}

async function orgOf(cf: Cf, asked: string | undefined): Promise<Named> {
  if (asked === undefined) return requireOrg(cf);
  requireUser(cf);
  const org = await findByName<Named>(cf, '/v3/organizations', asked);
  if (!org) throw notFoundError('Organization', asked);
  return org;
}

async function assignOrgQuota(cf: Cf, org: string, quota: string): Promise<void> {
  const { terminal, client } = cf;
  terminal.say(
    `\nSetting org quota ${terminal.name(quota)} to org ${terminal.name(org)} as ${terminal.name(cf.session.userName)}...`,
  );
  const found = await findByName<Named>(cf, '/v3/organization_quotas', quota);
  const target = await findByName<Named>(cf, '/v3/organizations', org);
  if (!found) throw new CommandError(`Organization quota with name '${quota}' not found.`);
  await client.call(`/v3/organization_quotas/${found.guid}/relationships/organizations`, {
    method: 'POST',
    json: { data: [{ guid: target?.guid }] },
  });
  terminal.ok();
}

async function createSpace(cf: Cf, space: string, orgName: string | undefined): Promise<void> {
  const { terminal, client, session } = cf;
  const org = await orgOf(cf, orgName);
  const [spaceShown, orgShown, user] = [space, org.name, session.userName].map((text) => terminal.name(text));
  terminal.say(`Creating space ${spaceShown} in org ${orgShown} as ${user}...`);
  await unlessThere(cf, /already exists|unique/, async () => {
    await client.call('/v3/spaces', {
      method: 'POST',
      json: { name: space, relationships: { organization: { data: { guid: org.guid } } } },
    });
  });
  terminal.ok();
  const created = await findByName<Named>(cf, '/v3/spaces', space, { organization_guids: org.guid });
  const { user_name, origin, client_id } = session.claims;
  const who = { data: user_name === undefined ? { guid: client_id } : { username: user_name, origin } };
  // A role in a space wants one in its org. Who may not give it, or has it, goes on.
  await unlessThere(
    cf,
    /./,
    async () => {
      const relationships = { user: who, organization: { data: { guid: org.guid } } };
      await client.call('/v3/roles', { method: 'POST', json: { type: 'organization_user', relationships } });
    },
    false,
  );
  for (const [type, label] of [
    ['space_manager', 'SpaceManager'],
    ['space_developer', 'SpaceDeveloper'],
  ] as const) {
    terminal.say(`\nAssigning role ${label} to user ${user} in org ${orgShown} / space ${spaceShown} as ${user}...`);
    const relationships = { user: who, space: { data: { guid: created?.guid } } };
    await unlessThere(
      cf,
      /already has/,
      async () => await client.call('/v3/roles', { method: 'POST', json: { type, relationships } }),
    );
    terminal.ok();
  }
  terminal.say(`\nTIP: Use 'cf target -o "${org.name}" -s "${space}"' to target new space`);
}
