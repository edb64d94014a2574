import type { Command } from 'commander';
import { findOrg, requireUser, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { Named } from '../resources.ts';
import { findOffering, type ServiceOffering, type ServicePlan } from './service-shared.ts';

interface AccessFlags {
  b?: string;
  o?: string;
  p?: string;
}

const PLANS = '/v3/service_plans';

/** Who may use which plans. */
export function registerServiceAccessCommands(program: Command, cf: Cf): void {
  const { terminal } = cf;

  program
    .command('service-access')
    .description('List service access settings')
    .option('-b <broker>', 'Plans of this broker alone')
    .option('-e <offering>', 'Plans of this service offering alone')
    .option('-o <org>', 'Plans that this org may use')
    .action(async (flags: ShownFlags) => {
      const user = requireUser(cf);
      const about = [
        flags.b === undefined ? [] : [terminal.text`broker ${flags.b}`],
        flags.e === undefined ? [] : [terminal.text`service offering ${flags.e}`],
        flags.o === undefined ? [] : [terminal.text`organization ${flags.o}`],
      ].flat();
      const which = about.length === 0 ? '' : ` for ${about.join(' and ')}`;
      terminal.say(`Getting service access${which}${terminal.text` as ${user}...`}\n`);
      await showAccess(cf, flags);
    });

  for (const [verb, doing] of [
    ['enable', 'Enabling'],
    ['disable', 'Disabling'],
  ] as const) {
    program
      .command(`${verb}-service-access <SERVICE_OFFERING>`)
      .description(
        `${verb === 'enable' ? 'Enable' : 'Disable'} access to a service offering or service plan for one or all orgs`,
      )
      .option('-b <broker>', 'Broker of the offering, where its name is not enough')
      .option('-o <org>', 'One org alone')
      .option('-p <plan>', 'One plan alone')
      .action(async (offering: string, flags: AccessFlags) => {
        const user = requireUser(cf);
        const words = [
          flags.p === undefined ? ' all plans of' : terminal.text` plan ${flags.p} of`,
          terminal.text` service offering ${offering}`,
          flags.b === undefined ? '' : terminal.text` from broker ${flags.b}`,
          flags.o === undefined ? ' for all orgs' : terminal.text` for org ${flags.o}`,
        ];
        terminal.say(`${doing} access to${words.join('')}${terminal.text` as ${user}...`}`);
        const skipped = await setAccess(cf, offering, { ...flags, isOn: verb === 'enable' });
        const present = verb === 'enable' ? 'all' : 'none';
        const lines = skipped.map((plan) => `Did not update plan ${plan} as it already has visibility ${present}.`);
        if (lines.length > 0) terminal.say(`\n${lines.join('\n')}\n`);
        terminal.ok();
      });
  }
}

interface ShownFlags {
  b?: string;
  e?: string;
  o?: string;
}

async function showAccess(cf: Cf, flags: ShownFlags): Promise<void> {
  const { terminal, client } = cf;
  const org = flags.o === undefined ? undefined : await findOrg(cf, flags.o);
  const about = { names: flags.e, service_broker_names: flags.b, per_page: 5000 };
  const offerings = await client.list<ServiceOffering>('/v3/service_offerings', {
    ...about,
    'fields[service_broker]': 'guid,name',
  });
  if (offerings.resources.length === 0 && (flags.b !== undefined || flags.e !== undefined)) throw noOffering(flags);
  const plans = await client.list<ServicePlan>(PLANS, {
    service_offering_names: flags.e,
    service_broker_names: flags.b,
    organization_guids: org?.guid,
    include: 'space.organization',
    per_page: 5000,
  });
  const brokers = (offerings.included['service_brokers'] ?? []) as Named[];
  const rows: { broker: string; offering: string; plan: ServicePlan }[] = plans.resources.flatMap((plan) => {
    const offering = offerings.resources.find(({ guid }) => guid === plan.relationships.service_offering.data.guid);
    if (!offering) return [];
    const broker = brokers.find(({ guid }) => guid === offering.relationships.service_broker.data.guid);
    return [{ broker: broker?.name ?? '', offering: offering.name, plan }];
  });
  if (rows.length === 0) return terminal.say('No service plans found.');
  const byBroker = Object.entries(Object.groupBy(rows, ({ broker }) => broker));
  for (const [index, [broker, of = []]] of byBroker.toSorted(([one], [other]) => compare(one, other)).entries()) {
    if (index > 0) terminal.say();
    terminal.say(terminal.text`broker: ${broker}`);
    const isOfSpace = of[0]?.plan.visibility_type === 'space';
    const sorted = of.toSorted(
      (one, other) => compare(one.offering, other.offering) || compare(one.plan.name, other.plan.name),
    );
    const shown = await Promise.all(
      sorted.map(async ({ offering, plan }) => [
        offering,
        plan.name,
        ACCESS[plan.visibility_type] ?? 'limited',
        await placesOf(cf, plan, plans.included),
      ]),
    );
    terminal.table([['offering', 'plan', 'access', isOfSpace ? 'space' : 'orgs'], ...shown], '   ');
  }
}

const ACCESS: Readonly<Record<string, string>> = { public: 'all', admin: 'none' };
const compare = (one: string, other: string): number => (one === other ? 0 : one < other ? -1 : 1);

function noOffering({ e: offering, b: broker }: ShownFlags): CommandError {
  if (offering === undefined) return new CommandError(`No service offerings found for service broker '${broker}'.`);
  const whose = broker === undefined ? '' : ` for service broker '${broker}'`;
  return new CommandError(`Service offering '${offering}'${whose} not found.`);
}

/** The orgs that may use a plan, or the space that its broker is for. */
async function placesOf({ client }: Cf, plan: ServicePlan, included: Record<string, unknown[]>): Promise<string> {
  if (plan.visibility_type === 'space') {
    type InOrg = Named & { relationships: { organization: { data: { guid: string } } } };
    const space = ((included['spaces'] ?? []) as InOrg[]).find(
      ({ guid }) => guid === plan.relationships.space?.data.guid,
    );
    const orgs = (included['organizations'] ?? []) as Named[];
    const org = orgs.find(({ guid }) => guid === space?.relationships.organization.data.guid);
    return `${space?.name ?? ''} (org: ${org?.name ?? ''})`;
  }
  if (plan.visibility_type !== 'organization') return '';
  const { organizations } = await client.get<{ organizations?: Named[] }>(`${PLANS}/${plan.guid}/visibility`);
  return (organizations ?? []).map(({ name }) => name).join(',');
}

/** Returns the plans that were left as they are. */
async function setAccess(cf: Cf, offering: string, flags: AccessFlags & { isOn: boolean }): Promise<string[]> {
  const { client } = cf;
  const { guid } = await findOffering(cf, offering, flags.b);
  const query = { service_offering_guids: guid, names: flags.p, per_page: 5000 };
  const { resources: plans } = await client.list<ServicePlan>(PLANS, query);
  if (plans.length === 0) {
    throw new CommandError(`The plan '${flags.p ?? ''}' could not be found for service offering '${offering}'.`);
  }
  if (plans.some((plan) => plan.visibility_type === 'space')) {
    throw new CommandError('You cannot change access for space-scoped service plans.');
  }
  const org = flags.o === undefined ? undefined : await findOrg(cf, flags.o);
  if (!flags.isOn && org && plans.some((plan) => plan.visibility_type === 'public')) {
    throw new CommandError('Cannot remove organization level access for public plans.');
  }
  const isSkipped = (plan: ServicePlan): boolean =>
    flags.isOn ? org !== undefined && plan.visibility_type === 'public' : plan.visibility_type === 'admin';
  for (const plan of plans.filter((each) => !isSkipped(each))) {
    const path = `${PLANS}/${plan.guid}/visibility`;
    if (!org) await client.call(path, { method: 'PATCH', json: { type: flags.isOn ? 'public' : 'admin' } });
    else if (!flags.isOn) await client.call(`${path}/${org.guid}`, { method: 'DELETE' });
    else
      await client.call(path, { method: 'POST', json: { type: 'organization', organizations: [{ guid: org.guid }] } });
  }
  return plans.filter(isSkipped).map(({ name }) => name);
}
