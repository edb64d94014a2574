import type { Command } from 'commander';
import { findByName, findOrg, mustFind, requireSpace, requireUser, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { Named } from '../resources.ts';
import type { ServiceOffering, ServicePlan } from './service-shared.ts';

interface Broker extends Named {
  url: string;
}

const PATH = '/v3/service_brokers';

/** Brokers, and who may use their plans. */
export function registerServiceBrokerCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;
  const findBroker = async (name: string): Promise<Broker> =>
    await mustFind<Broker>(cf, { kind: 'Service broker', path: PATH }, name);
  /** SERVICE_BROKER USERNAME [PASSWORD] URL: what is left out is asked for, or stands in CF_BROKER_PASSWORD. */
  const credentials = async ([username, second, third]: readonly [string, string, string | undefined]): Promise<{
    url: string;
    authentication: object;
  }> => {
    const password =
      third === undefined
        ? (process.env['CF_BROKER_PASSWORD'] ?? (await terminal.askHidden('Service Broker Password')))
        : second;
    return { url: third ?? second, authentication: { type: 'basic', credentials: { username, password } } };
  };

  program
    .command('service-brokers')
    .description('List service brokers')
    .action(async () => {
      terminal.say(terminal.text`Getting service brokers as ${requireUser(cf)}...`);
      const { resources } = await client.list<Broker>(PATH, { order_by: 'name', per_page: 5000 });
      if (resources.length === 0) return terminal.say('No service brokers found');
      terminal.table([['name', 'url'], ...resources.map(({ name, url }) => [name, url])]);
    });

  program
    .command('create-service-broker <SERVICE_BROKER> <USERNAME> <PASSWORD> [URL]')
    .alias('csb')
    .description('Create a service broker')
    .option('--space-scoped', 'Its plans are seen in the targeted space alone')
    .option('--update-if-exists', 'Update a broker that is there')
    .action(
      async (
        ...[name, username, second, third, flags]: [
          string,
          string,
          string,
          string | undefined,
          { spaceScoped?: true; updateIfExists?: true },
        ]
      ) => {
        const user = requireUser(cf);
        const space = flags.spaceScoped ? requireSpace(cf) : undefined;
        const given = await credentials([username, second, third]);
        const present = flags.updateIfExists ? await findByName<Broker>(cf, PATH, name) : undefined;
        terminal.say(
          present
            ? terminal.text`Updating service broker ${name} as ${user}...`
            : space
              ? terminal.text`Creating service broker ${name} in org ${space.org} / space ${space.name} as ${user}...`
              : terminal.text`Creating service broker ${name} as ${user}...`,
        );
        if (present) await client.callAndWait(`${PATH}/${present.guid}`, { method: 'PATCH', json: given });
        else {
          const scope = space && { relationships: { space: { data: { guid: space.guid } } } };
          await client.callAndWait(PATH, { method: 'POST', json: { name, ...given, ...scope } });
        }
        terminal.ok();
      },
    );

  program
    .command('update-service-broker <SERVICE_BROKER> <USERNAME> <PASSWORD> [URL]')
    .description('Update a service broker')
    .action(async (...[name, username, second, third]: [string, string, string, string | undefined]) => {
      const user = requireUser(cf);
      const json = await credentials([username, second, third]);
      const { guid } = await findBroker(name);
      terminal.say(terminal.text`Updating service broker ${name} as ${user}...`);
      await client.callAndWait(`${PATH}/${guid}`, { method: 'PATCH', json });
      terminal.ok();
    });

  program
    .command('rename-service-broker <SERVICE_BROKER> <NEW_SERVICE_BROKER>')
    .description('Rename a service broker')
    .action(async (name: string, new_name: string) => {
      const { guid } = await findBroker(name);
      terminal.say(terminal.text`Renaming service broker ${name} to ${new_name} as ${requireUser(cf)}...`);
      await client.callAndWait(`${PATH}/${guid}`, { method: 'PATCH', json: { name: new_name } });
      terminal.ok();
    });

  program
    .command('delete-service-broker <SERVICE_BROKER>')
    .description('Delete a service broker')
    .option('-f', 'Do not ask first')
    .action(async (name: string, flags: { f?: true }) => {
      requireUser(cf);
      if (!(await terminal.confirm(`Really delete the service broker ${name}?`, flags.f)))
        return terminal.say(`'${name}' has not been deleted.`);
      terminal.say(terminal.text`Deleting service broker ${name}...`);
      const found = await findByName<Broker>(cf, PATH, name);
      if (found) await client.callAndWait(`${PATH}/${found.guid}`, { method: 'DELETE' });
      else terminal.say(`Service broker '${name}' does not exist.`);
      terminal.ok();
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
        await setAccess(cf, offering, { ...flags, isOn: verb === 'enable' });
        terminal.ok();
      });
  }
}

interface AccessFlags {
  b?: string;
  o?: string;
  p?: string;
}

async function setAccess(cf: Cf, offering: string, flags: AccessFlags & { isOn: boolean }): Promise<void> {
  const { client } = cf;
  const found = await client.list<ServiceOffering>('/v3/service_offerings', {
    names: offering,
    service_broker_names: flags.b,
  });
  const [only, another] = found.resources;
  if (!only) throw new CommandError(`Service offering '${offering}' not found.`);
  if (another)
    throw new CommandError(
      `Service offering '${offering}' is provided by multiple service brokers. Specify a broker by using the '-b' flag.`,
    );
  const { resources: plans } = await client.list<ServicePlan>('/v3/service_plans', {
    service_offering_guids: only.guid,
    names: flags.p,
    per_page: 5000,
  });
  if (plans.length === 0) throw new CommandError(`Service plan '${flags.p ?? ''}' not found.`);
  const org = flags.o === undefined ? undefined : await findOrg(cf, flags.o);
  for (const plan of plans) {
    const path = `/v3/service_plans/${plan.guid}/visibility`;
    if (!org) await client.call(path, { method: 'PATCH', json: { type: flags.isOn ? 'public' : 'admin' } });
    else if (!flags.isOn) await client.call(`${path}/${org.guid}`, { method: 'DELETE' });
    else if (plan.visibility_type !== 'public')
      await client.call(path, { method: 'POST', json: { type: 'organization', organizations: [{ guid: org.guid }] } });
  }
}
