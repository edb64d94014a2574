import type { Command } from 'commander';
import { findByName, findOrg, findSpace, requireOrg, requireUser, unlessDone, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import { bytesOrUnlimited, megabytes } from '../quantities.ts';
import type { Named } from '../resources.ts';
import { byteSize } from '../terminal.ts';

interface Quota extends Named {
  apps: {
    total_memory_in_mb: number | null;
    per_process_memory_in_mb: number | null;
    total_instances: number | null;
    log_rate_limit_in_bytes_per_second: number | null;
  };
  services: { paid_services_allowed: boolean; total_service_instances: number | null };
  routes: { total_routes: number | null; total_reserved_ports: number | null };
}

interface QuotaFlags {
  a?: string;
  allowPaidServicePlans?: true;
  disallowPaidServicePlans?: true;
  i?: string;
  l?: string;
  m?: string;
  n?: string;
  r?: string;
  reservedRoutePorts?: string;
  s?: string;
}

/** The two kinds of quotas are told alike but for these. */
interface Kind {
  word: 'org' | 'space';
  path: string;
  /** As in messages about what is missing. */
  title: string;
  aliases: Record<string, string>;
  /** ` for org main`, where it matters. */
  where: (cf: Cf) => string;
  query: (cf: Cf) => Record<string, string>;
  owner: (cf: Cf) => object;
}

const ORG: Kind = {
  word: 'org',
  path: '/v3/organization_quotas',
  title: 'Organization quota',
  aliases: { list: 'quotas', show: 'quota', create: 'create-quota', update: 'update-quota', delete: 'delete-quota' },
  where: () => '',
  query: () => ({}),
  owner: () => ({}),
};
const SPACE: Kind = {
  word: 'space',
  path: '/v3/space_quotas',
  title: 'Space quota',
  aliases: {},
  where: (cf) => cf.terminal.text` for org ${requireOrg(cf).name}`,
  query: (cf) => ({ organization_guids: requireOrg(cf).guid }),
  owner: (cf) => ({ relationships: { organization: { data: { guid: requireOrg(cf).guid } } } }),
};

export function registerQuotaCommands(program: Command, cf: Cf): void {
  for (const kind of [ORG, SPACE]) registerKind(program, cf, kind);
  const { terminal, client } = cf;

  program
    .command('set-org-quota <ORG> <QUOTA>')
    .alias('set-quota')
    .description('Assign a quota to an organization')
    .action(async (org_name: string, name: string) => {
      terminal.say(terminal.text`Setting quota ${name} to org ${org_name} as ${requireUser(cf)}...`);
      const org = await findOrg(cf, org_name);
      const { guid } = await findQuota(cf, ORG, name);
      const json = { data: [{ guid: org.guid }] };
      await client.call(`${ORG.path}/${guid}/relationships/organizations`, { method: 'POST', json });
      terminal.ok();
    });

  program
    .command('set-space-quota <SPACE> <QUOTA>')
    .description('Assign a quota to a space')
    .action(async (space_name: string, name: string) => {
      requireOrg(cf);
      terminal.say(terminal.text`Setting space quota ${name} to space ${space_name} as ${requireUser(cf)}...`);
      const space = await findSpace(cf, space_name);
      const { guid } = await findQuota(cf, SPACE, name);
      const json = { data: [{ guid: space.guid }] };
      await client.call(`${SPACE.path}/${guid}/relationships/spaces`, { method: 'POST', json });
      terminal.ok();
    });

  program
    .command('unset-space-quota <SPACE> <SPACE_QUOTA>')
    .description('Unassign a quota from a space')
    .action(async (space_name: string, name: string) => {
      requireOrg(cf);
      terminal.say(terminal.text`Unassigning space quota ${name} from space ${space_name} as ${requireUser(cf)}...`);
      const space = await findSpace(cf, space_name);
      const { guid } = await findQuota(cf, SPACE, name);
      await client.call(`${SPACE.path}/${guid}/relationships/spaces/${space.guid}`, { method: 'DELETE' });
      terminal.ok();
    });
}

const withLimits = (command: Command): Command =>
  command
    .option('-a <n>', 'Instances of all apps together; -1 is unlimited')
    .option('--allow-paid-service-plans', 'Service plans that cost may be used')
    .option('-i <size>', 'Memory of one instance (e.g. 1024M, 1G, 10G); -1 is unlimited')
    .option('-m <size>', 'Memory of all apps together (e.g. 1024M, 1G, 10G); -1 is unlimited')
    .option('-r <n>', 'Routes; -1 is unlimited')
    .option('--reserved-route-ports <n>', 'Routes with ports of their own; -1 is unlimited')
    .option('-s <n>', 'Service instances; -1 is unlimited')
    .option('-l <rate>', 'Log volume per second of all apps together (e.g. 128B, 4K, 1M); -1 is unlimited');

function registerKind(program: Command, cf: Cf, kind: Kind): void {
  const { terminal, client } = cf;
  const { word, path, aliases } = kind;
  const what = word === 'org' ? 'organization' : 'space';
  const as = (): string => `${kind.where(cf)} as ${terminal.name(requireUser(cf))}...`;
  const command = (verb: string, nameAndArguments: string, description: string): Command => {
    const made = program.command(nameAndArguments).description(description);
    const alias = aliases[verb];
    return alias === undefined ? made : made.alias(alias);
  };

  command('list', `${word}-quotas`, `List available ${what} quotas`).action(async () => {
    terminal.say(`Getting ${word} quotas${as()}\n`);
    const { resources } = await client.list<Quota>(path, { ...kind.query(cf), per_page: 5000 });
    if (resources.length === 0) return terminal.say(`No ${what} quotas found.`);
    terminal.table([
      ['name', ...LIMITS.map(([title]) => title)],
      ...resources.map((quota) => [quota.name, ...LIMITS.map(([, show]) => show(quota))]),
    ]);
  });

  command('show', `${word}-quota <QUOTA>`, word === 'org' ? 'Show organization quota' : 'Show space quota info').action(
    async (name: string) => {
      terminal.say(`Getting ${word} quota ${terminal.name(name)}${as()}\n`);
      const quota = await findQuota<Quota>(cf, kind, name);
      terminal.facts(LIMITS.map(([title, show]) => [`${title}:`, show(quota)] as const));
    },
  );

  withLimits(
    command(
      'create',
      `create-${word}-quota <QUOTA>`,
      word === 'org' ? 'Define a new quota for an organization' : 'Define a new quota for a space',
    ),
  ).action(async (name: string, flags: QuotaFlags) => {
    terminal.say(`Creating ${word} quota ${terminal.name(name)}${as()}`);
    // Nothing is allowed but what is given, instances and their sizes aside.
    const limits = limitsOf({
      m: '0',
      r: '0',
      reservedRoutePorts: '0',
      s: '0',
      disallowPaidServicePlans: true,
      ...flags,
    });
    const json = { name, ...limits, ...kind.owner(cf) };
    await unlessDone(
      cf,
      {
        when: /already exists|must be unique/,
        say: `${kind.title.replace('quota', 'Quota')} '${name}' already exists.`,
      },
      async () => await client.call(path, { method: 'POST', json }),
    );
    terminal.ok();
  });

  withLimits(command('update', `update-${word}-quota <QUOTA>`, `Update an existing ${what} quota`))
    .option('--disallow-paid-service-plans', 'Service plans that cost may not be used')
    .option('-n <name>', 'New name')
    .action(async (name: string, flags: QuotaFlags) => {
      if (flags.allowPaidServicePlans && flags.disallowPaidServicePlans)
        throw new CommandError(
          'Incorrect Usage: The following arguments cannot be used together: --allow-paid-service-plans, --disallow-paid-service-plans',
        );
      terminal.say(`Updating ${word} quota ${terminal.name(name)}${as()}`);
      const { guid } = await findQuota(cf, kind, name);
      const json = { ...(flags.n !== undefined && { name: flags.n }), ...limitsOf(flags) };
      await client.call(`${path}/${guid}`, { method: 'PATCH', json });
      terminal.ok();
    });

  command(
    'delete',
    `delete-${word}-quota <QUOTA>`,
    word === 'org' ? 'Delete an organization quota' : 'Delete a space quota',
  )
    .option('-f, --force', 'Do not ask first')
    .action(async (name: string, flags: { force?: true }) => {
      const told = as();
      if (
        !(await terminal.confirm(
          `Really delete the ${word} quota ${name}${word === 'space' ? ` in org ${requireOrg(cf).name}` : ''}?`,
          flags.force,
        ))
      )
        return terminal.say(`${kind.title} '${name}' has not been deleted.`);
      terminal.say(`Deleting ${word} quota ${terminal.name(name)}${told}`);
      const found = await findByName<Quota>(cf, path, name, kind.query(cf));
      if (found) await client.callAndWait(`${path}/${found.guid}`, { method: 'DELETE' });
      else terminal.warn(notFoundQuota(kind, name).message);
      terminal.ok();
    });
}

const notFoundQuota = (kind: Kind, name: string): CommandError =>
  kind.word === 'org'
    ? new CommandError(`Organization quota with name '${name}' not found.`)
    : new CommandError(`Space quota with name '${name}' not found.`);

async function findQuota<T extends Named = Named>(cf: Cf, kind: Kind, name: string): Promise<T> {
  const found = await findByName<T>(cf, kind.path, name, kind.query(cf));
  if (!found) throw notFoundQuota(kind, name);
  return found;
}

const count = (limit: number | null): string => (limit === null ? 'unlimited' : String(limit));
const size = (limit: number | null, unit = 1): string => (limit === null ? 'unlimited' : byteSize(limit * unit));
const MB = 1024 ** 2;

const LIMITS: readonly (readonly [string, (quota: Quota) => string])[] = [
  ['total memory', ({ apps }) => size(apps.total_memory_in_mb, MB)],
  ['instance memory', ({ apps }) => size(apps.per_process_memory_in_mb, MB)],
  ['routes', ({ routes }) => count(routes.total_routes)],
  ['service instances', ({ services }) => count(services.total_service_instances)],
  ['paid service plans', ({ services }) => (services.paid_services_allowed ? 'allowed' : 'disallowed')],
  ['app instances', ({ apps }) => count(apps.total_instances)],
  ['route ports', ({ routes }) => count(routes.total_reserved_ports)],
  ['log volume per second', ({ apps }) => size(apps.log_rate_limit_in_bytes_per_second)],
];

/** What the flags change, in the API's words; -1 is no limit. Errors: CommandError. */
function limitsOf(flags: QuotaFlags): Partial<Record<'apps' | 'services' | 'routes', object>> {
  const number = (text: string): number | null => {
    if (!/^-?\d+$/.test(text)) throw new CommandError(`Incorrect Usage: '${text}' is not a whole number`);
    return Number(text) < 0 ? null : Number(text);
  };
  const memory = (text: string): number | null => (text === '-1' ? null : text === '0' ? 0 : megabytes(text));
  const rate = (text: string): number | null => (text === '-1' ? null : text === '0' ? 0 : bytesOrUnlimited(text));
  const apps = {
    ...(flags.m !== undefined && { total_memory_in_mb: memory(flags.m) }),
    ...(flags.i !== undefined && { per_process_memory_in_mb: memory(flags.i) }),
    ...(flags.a !== undefined && { total_instances: number(flags.a) }),
    ...(flags.l !== undefined && { log_rate_limit_in_bytes_per_second: rate(flags.l) }),
  };
  const isPaid = flags.allowPaidServicePlans ?? (flags.disallowPaidServicePlans ? false : undefined);
  const services = {
    ...(flags.s !== undefined && { total_service_instances: number(flags.s) }),
    ...(isPaid !== undefined && { paid_services_allowed: isPaid }),
  };
  const routes = {
    ...(flags.r !== undefined && { total_routes: number(flags.r) }),
    ...(flags.reservedRoutePorts !== undefined && { total_reserved_ports: number(flags.reservedRoutePorts) }),
  };
  return Object.fromEntries(
    Object.entries({ apps, services, routes }).filter(([, limits]) => Object.keys(limits).length > 0),
  );
}
