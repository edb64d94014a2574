import type { Command } from 'commander';
import { findByName, findOrg, findSpace, mustFind, requireOrg, requireUser, unlessDone, type Cf } from '../context.ts';
import type { Named } from '../resources.ts';

const PATH = '/v3/isolation_segments';
type Assigned = { data: { guid: string } | null };

export function registerIsolationSegmentCommands(program: Command, cf: Cf): void {
  const { terminal, client, session } = cf;
  const findSegment = async (name: string): Promise<Named> =>
    await mustFind(cf, { kind: 'Isolation segment', path: PATH }, name);
  /** null takes the assignment away. */
  const assign = async (relationship: string, guid: string | null): Promise<void> => {
    const json = { data: guid === null ? null : { guid } };
    await client.call(relationship, { method: 'PATCH', json });
  };
  const ofOrg = (guid: string): string => `/v3/organizations/${guid}/relationships/default_isolation_segment`;
  const ofSpace = (guid: string): string => `/v3/spaces/${guid}/relationships/isolation_segment`;

  program
    .command('isolation-segments')
    .description('List all isolation segments')
    .action(async () => {
      terminal.say(terminal.text`Getting isolation segments as ${requireUser(cf)}...`);
      terminal.say();
      const { resources } = await client.list<Named>(PATH, { per_page: 5000 });
      const rows = await Promise.all(
        resources.map(async ({ guid, name }) => {
          const orgs = await client.list<Named>(`${PATH}/${guid}/organizations`, { per_page: 5000 });
          return [name, orgs.resources.map((org) => org.name).join(', ')];
        }),
      );
      terminal.table([['name', 'orgs'], ...rows]);
    });

  program
    .command('create-isolation-segment <SEGMENT_NAME>')
    .description('Create an isolation segment')
    .action(async (name: string) => {
      terminal.say(terminal.text`Creating isolation segment ${name} as ${requireUser(cf)}...`);
      await unlessDone(
        cf,
        { when: /must be unique|already exists/, say: `Isolation segment '${name}' already exists.` },
        async () => await client.call(PATH, { method: 'POST', json: { name } }),
      );
      terminal.ok();
    });

  program
    .command('delete-isolation-segment <SEGMENT_NAME>')
    .description('Delete an isolation segment')
    .option('-f', 'Do not ask first')
    .action(async (name: string, flags: { f?: true }) => {
      const user = requireUser(cf);
      if (!(await terminal.confirm(`Really delete the isolation segment ${name}?`, flags.f)))
        return terminal.say('Delete cancelled');
      terminal.say(terminal.text`Deleting isolation segment ${name} as ${user}...`);
      const segment = await findByName<Named>(cf, PATH, name);
      if (segment) await client.call(`${PATH}/${segment.guid}`, { method: 'DELETE' });
      else terminal.warn(`Isolation segment ${name} does not exist.`);
      terminal.ok();
    });

  program
    .command('enable-org-isolation <ORG_NAME> <SEGMENT_NAME>')
    .description('Entitle an organization to an isolation segment')
    .action(async (org_name: string, name: string) => {
      terminal.say(terminal.text`Enabling isolation segment ${name} for org ${org_name} as ${requireUser(cf)}...`);
      const [org, segment] = [await findOrg(cf, org_name), await findSegment(name)];
      await client.call(`${PATH}/${segment.guid}/relationships/organizations`, {
        method: 'POST',
        json: { data: [{ guid: org.guid }] },
      });
      terminal.ok();
    });

  program
    .command('disable-org-isolation <ORG_NAME> <SEGMENT_NAME>')
    .description("Revoke an organization's entitlement to an isolation segment")
    .action(async (org_name: string, name: string) => {
      terminal.say(
        terminal.text`Removing entitlement to isolation segment ${name} from org ${org_name} as ${requireUser(cf)}...`,
      );
      const [org, segment] = [await findOrg(cf, org_name), await findSegment(name)];
      await client.call(`${PATH}/${segment.guid}/relationships/organizations/${org.guid}`, { method: 'DELETE' });
      terminal.ok();
    });

  program
    .command('set-org-default-isolation-segment <ORG_NAME> <SEGMENT_NAME>')
    .description('Set the default isolation segment used for apps in spaces in an org')
    .action(async (org_name: string, name: string) => {
      terminal.say(
        terminal.text`Setting isolation segment ${name} to default on org ${org_name} as ${requireUser(cf)}...`,
      );
      const [org, segment] = [await findOrg(cf, org_name), await findSegment(name)];
      await assign(ofOrg(org.guid), segment.guid);
      terminal.ok();
      terminal.say('TIP: Restart applications in this organization to relocate them to this isolation segment.');
    });

  program
    .command('reset-org-default-isolation-segment <ORG_NAME>')
    .description('Reset the default isolation segment used for apps in spaces of an org')
    .action(async (org_name: string) => {
      terminal.say(terminal.text`Resetting default isolation segment of org ${org_name} as ${requireUser(cf)}...`);
      await assign(ofOrg((await findOrg(cf, org_name)).guid), null);
      terminal.ok();
      terminal.say(
        'TIP: Restart applications in spaces without assigned isolation segments to move them to the platform default.',
      );
    });

  program
    .command('set-space-isolation-segment <SPACE_NAME> <SEGMENT_NAME>')
    .description('Assign the isolation segment for a space')
    .action(async (space_name: string, name: string) => {
      const org = requireOrg(cf);
      terminal.say(
        terminal.text`Updating isolation segment of space ${space_name} in org ${org.name} as ${session.userName}...`,
      );
      const [space, segment] = [await findSpace(cf, space_name), await findSegment(name)];
      await assign(ofSpace(space.guid), segment.guid);
      terminal.ok();
      terminal.say('TIP: Restart applications in this space to relocate them to this isolation segment.');
    });

  program
    .command('reset-space-isolation-segment <SPACE_NAME>')
    .description("Reset the space's isolation segment to the org default")
    .action(async (space_name: string) => {
      const org = requireOrg(cf);
      terminal.say(
        terminal.text`Resetting isolation segment assignment of space ${space_name} in org ${org.name} as ${session.userName}...`,
      );
      await assign(ofSpace((await findSpace(cf, space_name)).guid), null);
      terminal.ok();
      const { data } = await client.get<Assigned>(ofOrg(org.guid));
      terminal.say(
        `TIP: Restart applications in this space to relocate them to ${data ? "this organization's default isolation segment" : 'the platform default'}.`,
      );
    });
}
