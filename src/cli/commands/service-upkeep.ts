import type { Command } from 'commander';
import { findByName, requireSpace, requireUser, whereAndWho, type Cf } from '../context.ts';
import type { Named } from '../resources.ts';
import { change, findInstance, findOffering, type ServicePlan, withWait } from './service-shared.ts';

const INSTANCES = '/v3/service_instances';
/** As the public CLI says them: people search for these sentences. */
const PURGES_INSTANCE =
  "WARNING: This operation assumes that the service broker responsible for this service instance is no longer available or is not responding with a 200 or 410, and the service instance has been deleted, leaving orphan records in Cloud Foundry's database. All knowledge of the service instance will be removed from Cloud Foundry, including service bindings and service keys.";
const PURGES_OFFERING =
  "WARNING: This operation assumes that the service broker responsible for this service offering is no longer available, and all service instances have been deleted, leaving orphan records in Cloud Foundry's database. All knowledge of the service offering will be removed from Cloud Foundry, including service instances and service bindings. No attempt will be made to contact the service broker; running this command without destroying the service broker will cause orphan service instances. After running this command you may want to run either delete-service-auth-token or delete-service-broker to complete the cleanup.";

interface PurgeFlags {
  b?: string;
  f?: true;
}

/** Upgrades of instances, and the ways out when a broker is no more. */
export function registerServiceUpkeepCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  withWait(
    program
      .command('upgrade-service <SERVICE_INSTANCE>')
      .description('Upgrade a service instance to the latest available version of its current service plan'),
  )
    .option('-f, --force', 'Do not ask first')
    .action(async (name: string, flags: { force?: true; wait?: true }) => {
      requireSpace(cf);
      if (!flags.force) {
        terminal.say(
          "Warning: This operation may be long running and will block further operations on the service instance until it's completed",
        );
      }
      if (!(await terminal.confirm(`Do you really want to upgrade the service instance ${name}?`, flags.force)))
        return terminal.say('Upgrade cancelled');
      terminal.say(terminal.text`Upgrading service instance ${name} ` + `${whereAndWho(cf)}...\n`);
      const instance = await findInstance(cf, name);
      const plan_guid = instance.relationships.service_plan?.data.guid;
      if (instance.upgrade_available !== true || plan_guid === undefined) {
        terminal.say('No upgrade is available.');
        return terminal.ok();
      }
      const { maintenance_info } = await client.get<ServicePlan>(`/v3/service_plans/${plan_guid}`);
      const json = { maintenance_info: { version: maintenance_info?.version } };
      const isDone = await change(cf, `${INSTANCES}/${instance.guid}`, { method: 'PATCH', json }, flags.wait);
      terminal.say(
        isDone
          ? terminal.text`Upgrade of service instance ${name} complete.`
          : `Upgrade in progress. Use 'cf services' or 'cf service ${name}' to check operation status.`,
      );
      terminal.ok();
    });

  program
    .command('purge-service-instance <SERVICE_INSTANCE>')
    .description(
      'Recursively remove a service instance and child objects from Cloud Foundry database without making requests to a service broker',
    )
    .option('-f, --force', 'Do not ask first')
    .action(async (name: string, flags: { force?: true }) => {
      const space = requireSpace(cf);
      if (!flags.force) terminal.say(`${PURGES_INSTANCE}\n`);
      if (!(await terminal.confirm(`Really purge service instance ${name} from Cloud Foundry?`, flags.force)))
        return terminal.say('Purge cancelled');
      terminal.say(terminal.text`Purging service instance ${name} ` + `${whereAndWho(cf)}...\n`);
      const found = await findByName<Named>(cf, INSTANCES, name, { space_guids: space.guid });
      if (found) await client.call(`${INSTANCES}/${found.guid}`, { method: 'DELETE', query: { purge: 'true' } });
      terminal.say(found ? `Service instance ${name} purged.` : `Service instance ${name} did not exist.`);
      terminal.ok();
    });

  program
    .command('purge-service-offering <SERVICE_OFFERING>')
    .description(
      'Recursively remove a service offering and child objects from Cloud Foundry database without making requests to a service broker',
    )
    .option('-b <broker>', 'Broker of the offering, where its name is not enough')
    .option('-f', 'Do not ask first')
    .action(async (name: string, flags: PurgeFlags) => {
      requireUser(cf);
      const from = flags.b === undefined ? '' : ` from broker ${flags.b}`;
      if (!flags.f) terminal.say(`${PURGES_OFFERING}\n`);
      if (!(await terminal.confirm(`Really purge service offering ${name}${from} from Cloud Foundry?`, flags.f)))
        return terminal.say('Purge service offering cancelled.\n');
      terminal.say(`Purging service offering ${name}...`);
      const query = { names: name, service_broker_names: flags.b };
      const { resources } = await client.list('/v3/service_offerings', query);
      if (resources.length === 0) terminal.say(`Service offering '${name}' not found.`);
      else {
        const { guid } = await findOffering(cf, name, flags.b);
        await client.call(`/v3/service_offerings/${guid}`, { method: 'DELETE', query: { purge: 'true' } });
      }
      terminal.ok();
    });
}
