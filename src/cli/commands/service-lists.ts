import type { Command } from 'commander';
import { requireSpace, requireUser, whereAndWho, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { App, Named } from '../resources.ts';
import {
  change,
  findInstance,
  parameters,
  withParameters,
  withWait,
  type LastOperation,
  type ServiceInstance,
  type ServiceOffering,
  type ServicePlan,
} from './service-shared.ts';

interface Binding extends Named {
  created_at: string;
  type: 'app' | 'key';
  last_operation?: LastOperation | null;
  relationships: { app?: { data: { guid: string } }; service_instance: { data: { guid: string } } };
}

const BINDINGS = '/v3/service_credential_bindings';
const operation = (last: LastOperation | null | undefined): string => (last ? `${last.type} ${last.state}` : '');

/** Service instances and their keys as they are, and what there is to choose from. */
export function registerServiceListCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('services')
    .alias('s')
    .description('List all service instances in the target space')
    .option('--no-apps', 'Leave bound apps out')
    .action(async (flags: { apps: boolean }) => await listInstances(cf, flags.apps));

  program
    .command('service <SERVICE_INSTANCE>')
    .description('Show service instance info')
    .option('--guid', "The instance's guid alone")
    .option('--params', "The instance's parameters alone")
    .action(async (name: string, flags: { guid?: true; params?: true }) => {
      const instance = await findInstance(cf, name);
      if (flags.guid) return terminal.say(instance.guid);
      if (flags.params)
        return terminal.say(
          JSON.stringify(await client.get(`/v3/service_instances/${instance.guid}/parameters`), undefined, 2),
        );
      await showInstance(cf, instance);
    });

  program
    .command('marketplace')
    .alias('m')
    .description('List available offerings in the marketplace')
    .option('-e <offering>', 'Plans of one offering')
    .option('-b <broker>', 'Offerings of one broker')
    .option('--no-plans', 'Leave plans out')
    .option('--show-unavailable', 'Plans that cannot be used as well')
    .action(async (flags: MarketFlags) => await marketplace(cf, flags));

  withWait(
    withParameters(
      program
        .command('create-service-key <SERVICE_INSTANCE> <SERVICE_KEY>')
        .alias('csk')
        .description('Create key for a service instance'),
    ),
  ).action(async (name: string, key: string, flags: { c?: string; wait?: true }) => {
    const user = requireUser(cf);
    terminal.say(terminal.text`Creating service key ${key} for service instance ${name} as ${user}...\n`);
    const instance = await findInstance(cf, name);
    if (await findKey(cf, instance, key)) {
      terminal.say(`Service key ${key} already exists`);
      return terminal.ok();
    }
    const relationships = { service_instance: { data: { guid: instance.guid } } };
    const json = { type: 'key', name: key, relationships, ...parameters(flags.c) };
    const isDone = await change(cf, BINDINGS, { method: 'POST', json }, flags.wait);
    terminal.ok();
    if (!isDone) terminal.say('Create in progress.');
  });

  program
    .command('service-keys <SERVICE_INSTANCE>')
    .alias('sk')
    .description('List keys for a service instance')
    .action(async (name: string) => {
      terminal.say(terminal.text`Getting keys for service instance ${name} as ${requireUser(cf)}...\n`);
      const { guid } = await findInstance(cf, name);
      const query = { service_instance_guids: guid, type: 'key', per_page: 5000 };
      const { resources } = await client.list<Binding>(BINDINGS, query);
      if (resources.length === 0) return terminal.say(`No service keys for service instance ${name}`);
      const rows = resources.map((key) => [
        key.name,
        operation(key.last_operation),
        key.last_operation?.description ?? '',
      ]);
      terminal.table([['name', 'last operation', 'message'], ...rows]);
    });

  program
    .command('service-key <SERVICE_INSTANCE> <SERVICE_KEY>')
    .description('Show service key info')
    .option('--guid', "The key's guid alone")
    .option('--json', 'The credentials alone, as JSON')
    .action(async (name: string, key: string, flags: { guid?: true; json?: true }) => {
      if (!flags.guid && !flags.json)
        terminal.say(terminal.text`Getting key ${key} for service instance ${name} as ${requireUser(cf)}...\n`);
      const found = await findKey(cf, await findInstance(cf, name), key);
      if (!found) throw new CommandError(`No service key ${key} found for service instance ${name}`);
      if (flags.guid) return terminal.say(found.guid);
      const details = await client.get<{ credentials: object }>(`${BINDINGS}/${found.guid}/details`);
      const shown = flags.json ? details.credentials : { credentials: details.credentials };
      terminal.say(JSON.stringify(shown, undefined, 2));
    });

  withWait(
    program
      .command('delete-service-key <SERVICE_INSTANCE> <SERVICE_KEY>')
      .alias('dsk')
      .description('Delete a service key'),
  )
    .option('-f', 'Do not ask first')
    .action(async (name: string, key: string, flags: { f?: true; wait?: true }) => {
      const user = requireUser(cf);
      if (!(await terminal.confirm(`Really delete the service key ${key}?`, flags.f)))
        return terminal.say('Delete cancelled');
      terminal.say(terminal.text`Deleting key ${key} for service instance ${name} as ${user}...\n`);
      const found = await findKey(cf, await findInstance(cf, name), key);
      if (!found) terminal.say(`Service key ${key} does not exist for service instance ${name}.`);
      const isDone = !found || (await change(cf, `${BINDINGS}/${found.guid}`, { method: 'DELETE' }, flags.wait));
      terminal.ok();
      if (!isDone) terminal.say('Delete in progress.');
    });
}

async function findKey({ client }: Cf, { guid }: ServiceInstance, name: string): Promise<Binding | undefined> {
  const query = { service_instance_guids: guid, type: 'key', names: name };
  return (await client.list<Binding>(BINDINGS, query)).resources[0];
}

interface Catalogue {
  plan: (guid: string | undefined) => ServicePlan | undefined;
  offering: (guid: string | undefined) => ServiceOffering | undefined;
  broker: (guid: string | undefined) => string;
}

/** Plans with their offerings and brokers, by guid. */
async function catalogue({ client }: Cf, guids: readonly string[]): Promise<Catalogue> {
  if (guids.length === 0) return { plan: () => undefined, offering: () => undefined, broker: () => '' };
  const query = {
    guids: [...new Set(guids)].join(','),
    include: 'service_offering',
    'fields[service_offering.service_broker]': 'guid,name',
    per_page: 5000,
  };
  const { resources: plans, included } = await client.list<ServicePlan>('/v3/service_plans', query);
  const offerings = (included['service_offerings'] ?? []) as ServiceOffering[];
  const brokers = (included['service_brokers'] ?? []) as Named[];
  return {
    plan: (guid) => plans.find((one) => one.guid === guid),
    offering: (guid) => offerings.find((one) => one.guid === guid),
    broker: (guid) => brokers.find((one) => one.guid === guid)?.name ?? '',
  };
}

async function listInstances(cf: Cf, withApps: boolean): Promise<void> {
  const { terminal, client } = cf;
  const { guid } = requireSpace(cf);
  terminal.say(`Getting service instances ${whereAndWho(cf)}...\n`);
  const query = { space_guids: guid, order_by: 'name', per_page: 5000 };
  const { resources } = await client.list<ServiceInstance>('/v3/service_instances', query);
  if (resources.length === 0) return terminal.say('No service instances found.');
  const plans = resources.flatMap(({ relationships: { service_plan } }) => service_plan?.data.guid ?? []);
  const [known, bindings, apps] = await Promise.all([
    catalogue(cf, plans),
    withApps ? client.list<Binding>(BINDINGS, { type: 'app', per_page: 5000 }) : { resources: [] },
    withApps ? client.list<App>('/v3/apps', { space_guids: guid, per_page: 5000 }) : { resources: [] },
  ]);
  const rows = resources.map((instance) => {
    const plan = known.plan(instance.relationships.service_plan?.data.guid);
    const offering = known.offering(plan?.relationships.service_offering.data.guid);
    const bound = bindings.resources
      .filter((binding) => binding.relationships.service_instance.data.guid === instance.guid)
      .flatMap(
        (binding) => apps.resources.find((app) => app.guid === binding.relationships.app?.data.guid)?.name ?? [],
      );
    const isManaged = instance.type === 'managed';
    return [
      instance.name,
      isManaged ? (offering?.name ?? '') : 'user-provided',
      plan?.name ?? '',
      ...(withApps ? [bound.toSorted().join(', ')] : []),
      operation(instance.last_operation),
      known.broker(offering?.relationships.service_broker.data.guid),
      isManaged ? (instance.upgrade_available ? 'yes' : 'no') : '',
    ];
  });
  const apps_title = withApps ? ['bound apps'] : [];
  terminal.table([
    ['name', 'offering', 'plan', ...apps_title, 'last operation', 'broker', 'upgrade available'],
    ...rows,
  ]);
}

async function showInstance(cf: Cf, instance: ServiceInstance): Promise<void> {
  const { terminal, client } = cf;
  terminal.say(terminal.text`Showing info of service ${instance.name} ` + `${whereAndWho(cf)}...\n`);
  const plan_guid = instance.relationships.service_plan?.data.guid;
  const known = await catalogue(cf, plan_guid === undefined ? [] : [plan_guid]);
  const plan = known.plan(plan_guid);
  const offering = known.offering(plan?.relationships.service_offering.data.guid);
  const facts: [string, string][] =
    instance.type === 'user-provided'
      ? [
          ['tags:', instance.tags.join(', ')],
          ['route service url:', instance.route_service_url ?? ''],
          ['syslog drain url:', instance.syslog_drain_url ?? ''],
        ]
      : [
          ['broker:', known.broker(offering?.relationships.service_broker.data.guid)],
          ['offering:', offering?.name ?? ''],
          ['plan:', plan?.name ?? ''],
          ['tags:', instance.tags.join(', ')],
          ['offering tags:', (offering?.tags ?? []).join(', ')],
          ['description:', offering?.description ?? ''],
          ['documentation:', offering?.documentation_url ?? ''],
          ['dashboard url:', instance.dashboard_url ?? ''],
        ];
  terminal.facts([['name:', instance.name], ['guid:', instance.guid], ['type:', instance.type], ...facts]);
  const last = instance.last_operation;
  terminal.say('\nShowing status of last operation:');
  if (last) {
    const rows = [
      ['status:', operation(last)],
      ['message:', last.description ?? ''],
      ['started:', last.created_at ?? ''],
      ['updated:', last.updated_at ?? ''],
    ];
    terminal.table(rows, '   ');
  } else terminal.say('   There is no last operation available for this service instance.');
  const query = { service_instance_guids: instance.guid, type: 'app', include: 'app', per_page: 5000 };
  const { resources, included } = await client.list<Binding>(BINDINGS, query);
  terminal.say('\nShowing bound apps:');
  if (resources.length === 0) terminal.say('   There are no bound apps for this service instance.\n');
  else {
    const apps = (included['apps'] ?? []) as Named[];
    const rows = resources.map((binding) => [
      apps.find(({ guid }) => guid === binding.relationships.app?.data.guid)?.name ?? '',
      binding.name ?? '',
      operation(binding.last_operation),
      binding.last_operation?.description ?? '',
      binding.guid,
      binding.created_at,
    ]);
    terminal.table([['name', 'binding name', 'status', 'message', 'guid', 'created_at'], ...rows], '   ');
    terminal.say();
  }
}

interface MarketFlags {
  e?: string;
  b?: string;
  plans: boolean;
  showUnavailable?: true;
}

async function marketplace(cf: Cf, flags: MarketFlags): Promise<void> {
  const { terminal, client } = cf;
  const space = requireSpace(cf);
  const about =
    flags.e === undefined ? 'Getting all service offerings from marketplace' : 'Getting service plan information for';
  const which = flags.e === undefined ? '' : terminal.text` service offering ${flags.e}`;
  const from =
    flags.b === undefined ? '' : `${flags.e === undefined ? ' for' : ' from'} service broker ${terminal.name(flags.b)}`;
  terminal.say(`${about}${which}${from} ${whereAndWho(cf)}...\n`);
  const { resources, included } = await client.list<ServicePlan>('/v3/service_plans', {
    space_guids: space.guid,
    include: 'service_offering',
    'fields[service_offering.service_broker]': 'guid,name',
    service_offering_names: flags.e,
    service_broker_names: flags.b,
    available: flags.showUnavailable ? undefined : 'true',
    per_page: 5000,
  });
  const offerings = (included['service_offerings'] ?? []) as ServiceOffering[];
  const brokers = (included['service_brokers'] ?? []) as Named[];
  if (offerings.length === 0) return terminal.say('No service offerings found.');
  const plansOf = ({ guid }: ServiceOffering): ServicePlan[] =>
    resources.filter((plan) => plan.relationships.service_offering.data.guid === guid);
  const brokerOf = ({ relationships }: ServiceOffering): string =>
    brokers.find(({ guid }) => guid === relationships.service_broker.data.guid)?.name ?? '';
  if (flags.e === undefined) {
    const rows = offerings.map((offering) => [
      offering.name,
      ...(flags.plans
        ? [
            plansOf(offering)
              .map(({ name }) => name)
              .join(', '),
          ]
        : []),
      offering.description,
      brokerOf(offering),
    ]);
    terminal.table([['offering', ...(flags.plans ? ['plans'] : []), 'description', 'broker'], ...rows]);
    terminal.say(
      "\nTIP: Use 'cf marketplace -e SERVICE_OFFERING' to view descriptions of individual plans of a given service offering.",
    );
    return;
  }
  for (const offering of offerings) {
    terminal.say(terminal.text`broker: ${brokerOf(offering)}`);
    const rows = plansOf(offering).map(({ name, description, free, costs, available }) => [
      name,
      description,
      free ? 'free' : 'paid',
      costs.map(({ currency, amount, unit }) => `${currency} ${amount.toFixed(2)}/${unit}`).join(', '),
      ...(flags.showUnavailable ? [available ? 'yes' : 'no'] : []),
    ]);
    const head = ['plan', 'description', 'free or paid', 'costs', ...(flags.showUnavailable ? ['available'] : [])];
    terminal.table([head, ...rows], '   ');
  }
}
