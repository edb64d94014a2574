import type { Command } from 'commander';
import { findByName, mustFind, requireSpace, requireUser, type Cf } from '../context.ts';
import type { Named } from '../resources.ts';

interface Broker extends Named {
  url: string;
}

const PATH = '/v3/service_brokers';

/** Brokers; who may use their plans is in service-access.ts. */
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
}
