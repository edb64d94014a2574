import type { Command } from 'commander';
import { findByName, findOrg, findSpace, requireSpace, whereAndWho, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { Named } from '../resources.ts';
import {
  change,
  findInstance,
  findOffering,
  jsonObject,
  parameters,
  tagsOf,
  withParameters,
  withWait,
  type ServiceInstance,
  type ServicePlan,
} from './service-shared.ts';

const PATH = '/v3/service_instances';

interface InstanceFlags {
  b?: string;
  c?: string;
  p?: string;
  t?: string;
  wait?: true;
  force?: true;
}

interface UserProvidedFlags {
  l?: string;
  p?: string;
  r?: string;
  t?: string;
}

export function registerServiceInstanceCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;
  const here = (): string => `${whereAndWho(cf)}...`;

  withWait(
    withParameters(
      program
        .command('create-service <SERVICE_OFFERING> <SERVICE_PLAN> <SERVICE_INSTANCE>')
        .alias('cs')
        .description('Create a service instance'),
    ),
  )
    .option('-b <broker>', 'Broker of the offering, where its name is not enough')
    .option('-t <tags>', 'Tags, separated by commas')
    .action(async (...[offering, plan_name, name, flags]: [string, string, string, InstanceFlags]) => {
      const space = requireSpace(cf);
      terminal.say(terminal.text`Creating service instance ${name} ` + here());
      const plan = await findPlan(cf, { plan: plan_name, offering, broker: flags.b });
      if (await findByName(cf, PATH, name, { space_guids: space.guid })) {
        terminal.say(`Service instance ${name} already exists`);
        return terminal.ok();
      }
      const relationships = { space: { data: { guid: space.guid } }, service_plan: { data: { guid: plan.guid } } };
      const json = { type: 'managed', name, relationships, ...parameters(flags.c), ...tagged(flags.t) };
      const isDone = await change(cf, PATH, { method: 'POST', json }, flags.wait);
      terminal.say(
        isDone
          ? `\nService instance ${name} created.`
          : `\nCreate in progress. Use 'cf services' or 'cf service ${name}' to check operation status.`,
      );
      terminal.ok();
    });

  withWait(
    withParameters(program.command('update-service <SERVICE_INSTANCE>').description('Update a service instance')),
  )
    .option('-p <plan>', 'New plan')
    .option('-t <tags>', 'Tags, separated by commas')
    .action(async (name: string, flags: InstanceFlags) => {
      requireSpace(cf);
      if (flags.c === undefined && flags.p === undefined && flags.t === undefined) {
        terminal.say('No flags specified. No changes were made.');
        return terminal.ok();
      }
      terminal.say(terminal.text`Updating service instance ${name} ` + `${here()}\n`);
      const instance = await findInstance(cf, name);
      const json = { ...parameters(flags.c), ...tagged(flags.t), ...(await planChange(cf, instance, flags.p)) };
      const isDone = await change(cf, `${PATH}/${instance.guid}`, { method: 'PATCH', json }, flags.wait);
      terminal.say(
        isDone
          ? `Update of service instance ${name} complete.`
          : `Update in progress. Use 'cf services' or 'cf service ${name}' to check operation status.`,
      );
      terminal.ok();
    });

  withWait(program.command('delete-service <SERVICE_INSTANCE>').alias('ds').description('Delete a service instance'))
    .option('-f, --force', 'Do not ask first')
    .action(async (name: string, flags: InstanceFlags) => {
      const space = requireSpace(cf);
      if (!flags.force) {
        terminal.say(
          'This action impacts all resources scoped to this service instance, including service bindings, service keys and route bindings.',
        );
        terminal.say('This will remove the service instance from any spaces where it has been shared.');
      }
      if (!(await terminal.confirm(`Really delete the service instance ${name}?`, flags.force)))
        return terminal.say('Delete cancelled');
      terminal.say(terminal.text`Deleting service instance ${name} ` + `${here()}\n`);
      const instance = await findByName<Named>(cf, PATH, name, { space_guids: space.guid });
      if (!instance) {
        terminal.say(`Service instance ${name} did not exist.`);
        return terminal.ok();
      }
      const isDone = await change(cf, `${PATH}/${instance.guid}`, { method: 'DELETE' }, flags.wait);
      terminal.say(
        isDone
          ? `Service instance ${name} deleted.`
          : `Delete in progress. Use 'cf services' or 'cf service ${name}' to check operation status.`,
      );
      terminal.ok();
    });

  program
    .command('rename-service <SERVICE_INSTANCE> <NEW_SERVICE_INSTANCE>')
    .description('Rename a service instance')
    .action(async (name: string, new_name: string) => {
      terminal.say(terminal.text`Renaming service ${name} to ${new_name} ` + here());
      const { guid } = await findInstance(cf, name);
      await client.callAndWait(`${PATH}/${guid}`, { method: 'PATCH', json: { name: new_name } });
      terminal.ok();
      terminal.say("TIP: Use 'cf services' to view all services in this org and space.");
    });

  const withFields = (command: Command): Command =>
    command
      .option('-l <url>', 'Address that logs of bound apps are sent to')
      .option('-p <credentials>', 'Credentials as JSON, a file of it, or names to be asked for, separated by commas')
      .option('-r <url>', 'Address that requests of bound routes go through; https')
      .option('-t <tags>', 'Tags, separated by commas');

  withFields(
    program
      .command('create-user-provided-service <SERVICE_INSTANCE>')
      .alias('cups')
      .description('Make a user-provided service instance available to CF apps'),
  ).action(async (name: string, flags: UserProvidedFlags) => {
    const { guid } = requireSpace(cf);
    const fields = await userProvided(cf, flags);
    terminal.say(terminal.text`Creating user provided service ${name} ` + here());
    if (await findByName(cf, PATH, name, { space_guids: guid })) {
      terminal.say(`Service instance ${name} already exists`);
      return terminal.ok();
    }
    const json = { type: 'user-provided', name, relationships: { space: { data: { guid } } }, ...fields };
    await client.call(PATH, { method: 'POST', json });
    terminal.ok();
  });

  withFields(
    program
      .command('update-user-provided-service <SERVICE_INSTANCE>')
      .alias('uups')
      .description('Update user-provided service instance'),
  ).action(async (name: string, flags: UserProvidedFlags) => {
    requireSpace(cf);
    const json = await userProvided(cf, flags);
    if (Object.keys(json).length === 0) {
      terminal.say('No flags specified. No changes were made.');
      return terminal.ok();
    }
    terminal.say(terminal.text`Updating user provided service ${name} ` + here());
    const { guid } = await findInstance(cf, name);
    await client.call(`${PATH}/${guid}`, { method: 'PATCH', json });
    terminal.ok();
    terminal.say("TIP: Use 'cf restage' for any bound apps to ensure your env variable changes take effect");
  });

  for (const [verb, doing, join] of [
    ['share', 'Sharing', 'into'],
    ['unshare', 'Unsharing', 'from'],
  ] as const) {
    program
      .command(`${verb}-service <SERVICE_INSTANCE>`)
      .description(
        verb === 'share'
          ? 'Share a service instance with another space'
          : 'Unshare a shared service instance from a space',
      )
      .requiredOption('-s <space>', 'The other space')
      .option('-o <org>', 'Its org; the targeted one otherwise')
      .option('-f', 'Do not ask first')
      .action(async (name: string, flags: { s: string; o?: string; f?: true }) => {
        const org_name = flags.o ?? requireSpace(cf).org;
        if (verb === 'unshare' && !flags.f) {
          terminal.warn(
            `WARNING: Unsharing this service instance will remove any existing bindings originating from the service instance in the space "${flags.s}". This could cause apps to stop working.`,
          );
          if (!(await terminal.confirm(`Really unshare the service instance ${name} from space ${flags.s}?`, false)))
            return terminal.say('Unshare cancelled');
        }
        terminal.say(
          `${doing} service instance ${terminal.name(name)} ${join} ` +
            terminal.text`org ${org_name} / space ${flags.s} as ${cf.session.userName}...`,
        );
        const instance = await findInstance(cf, name);
        const space = await findSpace(cf, flags.s, (await findOrg(cf, org_name)).guid);
        const path = `${PATH}/${instance.guid}/relationships/shared_spaces`;
        if (verb === 'share') await client.call(path, { method: 'POST', json: { data: [{ guid: space.guid }] } });
        else await client.callAndWait(`${path}/${space.guid}`, { method: 'DELETE' });
        terminal.ok();
      });
  }
}

const tagged = (text: string | undefined): { tags?: string[] } => (text === undefined ? {} : { tags: tagsOf(text) });

async function userProvided({ terminal }: Cf, flags: UserProvidedFlags): Promise<Record<string, unknown>> {
  const fields: Record<string, unknown> = { ...tagged(flags.t) };
  if (flags.l !== undefined) fields['syslog_drain_url'] = flags.l;
  if (flags.r !== undefined) fields['route_service_url'] = flags.r;
  if (flags.p === undefined) return fields;
  if (flags.p === '' || /^\s*\{/.test(flags.p) || /[/.]/.test(flags.p))
    return { ...fields, credentials: flags.p === '' ? {} : jsonObject(flags.p, '-p') };
  // What is neither JSON nor a file names what is asked for.
  const credentials: Record<string, string> = {};
  for (const key of tagsOf(flags.p)) credentials[key] = await terminal.askHidden(key);
  return { ...fields, credentials };
}

async function planChange(
  { client }: Cf,
  { relationships }: ServiceInstance,
  plan: string | undefined,
): Promise<object> {
  if (plan === undefined) return {};
  const present = await client.get<ServicePlan>(`/v3/service_plans/${relationships.service_plan?.data.guid ?? ''}`);
  const query = { names: plan, service_offering_guids: present.relationships.service_offering.data.guid };
  const [found] = (await client.list<Named>('/v3/service_plans', query)).resources;
  if (!found) throw new CommandError(`The plan '${plan}' could not be found for this service offering.`);
  return { relationships: { service_plan: { data: { guid: found.guid } } } };
}

async function findPlan(
  cf: Cf,
  { plan, offering, broker }: { plan: string; offering: string; broker: string | undefined },
): Promise<Named> {
  const { guid } = await findOffering(cf, offering, broker);
  const plans = await cf.client.list<Named>('/v3/service_plans', { names: plan, service_offering_guids: guid });
  const [only] = plans.resources;
  if (!only) throw new CommandError(`The plan '${plan}' could not be found for service offering '${offering}'.`);
  return only;
}
