import type { Command } from 'commander';
import { findByName, findOrg, mustFind, requireOrg, requireUser, unlessDone, type Cf } from '../context.ts';
import { CommandError, notFoundError } from '../errors.ts';
import type { Domain } from '../resources.ts';

/** Errors: CommandError "Domain 'x' not found." */
export async function findDomain(cf: Cf, name: string): Promise<Domain> {
  return await mustFind<Domain>(cf, { kind: 'Domain', path: '/v3/domains' }, name);
}

interface RouterGroup {
  guid: string;
  name: string;
  type: string;
}

/** Errors: CommandError when the platform has no TCP routes. */
async function routerGroups({ client }: Cf, query: { name?: string } = {}): Promise<RouterGroup[]> {
  const { links } = await client.get<{ links: Record<string, { href: string } | null> }>('/');
  const routing = links['routing'];
  if (!routing) throw new CommandError('This platform has no TCP routes: its API names no routing API.');
  const path = new URL(`${routing.href}/v1/router_groups`);
  for (const [key, value] of Object.entries(query)) path.searchParams.set(key, value);
  return await client.get<RouterGroup[]>(path.href);
}

/** Errors: CommandError "Router group x not found". */
async function findRouterGroup(cf: Cf, name: string): Promise<RouterGroup> {
  const [found] = await routerGroups(cf, { name });
  if (!found) throw new CommandError(`Router group '${name}' not found.`);
  return found;
}

interface PolicyFlags {
  enforceRoutePolicies?: true;
  scope?: string;
}
const ENFORCE = ['--enforce-route-policies', 'Only apps that route policies name reach its routes'] as const;
const SCOPE = ['--scope <scope>', 'Within what they must be: any, org or space (any unless said)'] as const;

function enforcement({ enforceRoutePolicies, scope }: PolicyFlags): object {
  if (scope !== undefined && !enforceRoutePolicies)
    throw new CommandError('--scope can only be used with --enforce-route-policies');
  return enforceRoutePolicies ? { enforce_route_policies: true, route_policies_scope: scope ?? 'any' } : {};
}

export function registerDomainCommands(program: Command, cf: Cf): void {
  const { terminal, client, session } = cf;
  const create = async (json: object): Promise<unknown> => await client.call('/v3/domains', { method: 'POST', json });
  const done = { when: /already in use|already exists|already reserved/ };

  program
    .command('domains')
    .description('List domains in the target org')
    .option('--labels <selector>', 'Selector to filter domains by labels')
    .action(async ({ labels }: { labels?: string }) => {
      const org = requireOrg(cf);
      terminal.say(terminal.text`Getting domains in org ${org.name} as ${session.userName}...`);
      terminal.say();
      const query = { per_page: 5000, label_selector: labels };
      const { resources } = await client.list<Domain>(`/v3/organizations/${org.guid}/domains`, query);
      if (resources.length === 0) return terminal.say('No domains found.');
      const rows = resources
        .toSorted((a, b) => a.name.localeCompare(b.name))
        .map((domain) => [
          domain.name,
          domain.relationships.organization.data ? 'private' : 'shared',
          domain.internal ? 'true' : '',
          domain.supported_protocols.join(','),
        ]);
      terminal.table([['name', 'availability', 'internal', 'protocols'], ...rows]);
    });

  program
    .command('create-private-domain <ORG> <DOMAIN>')
    .alias('create-domain')
    .description('Create a private domain for a specific org')
    .option(...ENFORCE)
    .option(...SCOPE)
    .action(async (org_name: string, name: string, flags: PolicyFlags) => {
      const policies = enforcement(flags);
      terminal.say(terminal.text`Creating private domain ${name} for org ${org_name} as ${requireUser(cf)}...`);
      const { guid } = await findOrg(cf, org_name);
      const isNew = await unlessDone(
        cf,
        done,
        async () => await create({ name, ...policies, relationships: { organization: { data: { guid } } } }),
      );
      terminal.ok();
      if (isNew)
        terminal.say(
          `TIP: Domain '${name}' is a private domain. Run 'cf share-private-domain' to share this domain with a different org.`,
        );
    });

  program
    .command('create-shared-domain <DOMAIN>')
    .description('Create a domain that can be used by all orgs (admin-only)')
    .option('--router-group <group>', 'Router group of a domain for TCP routes')
    .option('--internal', 'For routes from app to app on the container network')
    .option(...ENFORCE)
    .option(...SCOPE)
    .action(async (name: string, flags: PolicyFlags & { routerGroup?: string; internal?: true }) => {
      if (flags.routerGroup !== undefined && flags.internal)
        throw new CommandError(
          'Incorrect Usage: The following arguments cannot be used together: --router-group, --internal',
        );
      terminal.say(terminal.text`Creating shared domain ${name} as ${requireUser(cf)}...`);
      const group = flags.routerGroup === undefined ? undefined : await findRouterGroup(cf, flags.routerGroup);
      await create({
        name,
        ...enforcement(flags),
        ...(flags.internal && { internal: true }),
        ...(group && { router_group: { guid: group.guid } }),
      });
      terminal.ok();
      terminal.say(`TIP: Domain '${name}' is shared with all orgs. Run 'cf domains' to view available domains.`);
    });

  program
    .command('router-groups')
    .description('List router groups')
    .action(async () => {
      terminal.say(terminal.text`Getting router groups as ${requireUser(cf)}...`);
      terminal.say();
      const groups = await routerGroups(cf);
      if (groups.length === 0) return terminal.say('No router groups found.');
      terminal.table([['name', 'type'], ...groups.map((group) => [group.name, group.type])]);
    });

  program
    .command('delete-private-domain <DOMAIN>')
    .alias('delete-domain')
    .description('Delete a private domain')
    .option('-f', 'Do not ask first')
    .action(async (name: string, flags: { f?: true }) => {
      const user = requireUser(cf);
      const domain = await findByName<Domain>(cf, '/v3/domains', name);
      if (domain && !domain.relationships.organization.data)
        throw new CommandError(
          `Domain '${name}' is a shared domain, not a private domain.\nTIP:\nUse \`cf delete-shared-domain\` to delete shared domains.`,
        );
      if (domain && !flags.f)
        terminal.say(
          'Deleting the private domain will remove associated routes which will make apps with this domain unreachable.',
        );
      if (domain && !(await terminal.confirm(`Really delete the private domain ${name}?`, flags.f)))
        return terminal.say(`'${name}' has not been deleted.`);
      terminal.say(terminal.text`Deleting private domain ${name} as ${user}...`);
      if (domain) await client.callAndWait(`/v3/domains/${domain.guid}`, { method: 'DELETE' });
      else terminal.warn(`Domain '${name}' does not exist.`);
      terminal.ok();
      if (domain) terminal.say("TIP: Run 'cf domains' to view available domains.");
    });

  program
    .command('delete-shared-domain <DOMAIN>')
    .description('Delete a shared domain')
    .option('-f', 'Do not ask first')
    .action(async (name: string, flags: { f?: true }) => {
      const user = requireUser(cf);
      const domain = await findByName<Domain>(cf, '/v3/domains', name);
      if (domain?.relationships.organization.data)
        throw new CommandError(
          `Domain '${name}' is a private domain, not a shared domain.\nTIP:\nUse \`cf delete-private-domain\` to delete private domains.`,
        );
      if (!flags.f) {
        terminal.say('This action impacts all orgs using this domain.');
        terminal.say(
          'Deleting the domain will remove associated routes which will make apps with this domain, in any org, unreachable.',
        );
      }
      if (!(await terminal.confirm(`Really delete the shared domain ${name}?`, flags.f)))
        return terminal.say(`'${name}' has not been deleted.`);
      terminal.say(terminal.text`Deleting domain ${name} as ${user}...`);
      if (domain) await client.callAndWait(`/v3/domains/${domain.guid}`, { method: 'DELETE' });
      else terminal.warn(`Domain '${name}' does not exist.`);
      terminal.ok();
    });

  program
    .command('share-private-domain <ORG> <DOMAIN>')
    .description('Share a private domain with a specific org')
    .action(async (org_name: string, name: string) => {
      terminal.say(terminal.text`Sharing domain ${name} with org ${org_name} as ${requireUser(cf)}...`);
      const [domain, org] = [await findDomain(cf, name), await findOrg(cf, org_name)];
      await client.call(`/v3/domains/${domain.guid}/relationships/shared_organizations`, {
        method: 'POST',
        json: { data: [{ guid: org.guid }] },
      });
      terminal.ok();
    });

  program
    .command('unshare-private-domain <ORG> <DOMAIN>')
    .description('Unshare a private domain with a specific org')
    .option('-f', 'Do not ask first')
    .action(async (org_name: string, name: string, flags: { f?: true }) => {
      const user = requireUser(cf);
      terminal.say(terminal.text`Warning: org ${org_name} will no longer be able to access private domain ${name}`);
      if (!(await terminal.confirm(`Really unshare private domain ${name}?`, flags.f)))
        return terminal.say(terminal.text`Domain ${name} has not been unshared from organization ${org_name}`);
      terminal.say(terminal.text`Unsharing domain ${name} from org ${org_name} as ${user}...`);
      const domain = await findByName<Domain>(cf, '/v3/domains', name);
      if (!domain) throw notFoundError('Domain', name);
      const org = await findOrg(cf, org_name);
      await client.call(`/v3/domains/${domain.guid}/relationships/shared_organizations/${org.guid}`, {
        method: 'DELETE',
      });
      terminal.ok();
    });
}
