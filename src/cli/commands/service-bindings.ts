import { type Command, Option } from 'commander';
import { findApp, requireSpace, whereAndWho, type Cf } from '../context.ts';
import type { Named } from '../resources.ts';
import { mustFindRoute } from './route-settings.ts';
import { urlOf, type RouteFlags } from './routes.ts';
import { change, findInstance, parameters, withParameters, withWait } from './service-shared.ts';

interface BindingFlags {
  c?: string;
  bindingName?: string;
  strategy?: string;
  guid?: string;
  wait?: true;
}

const BINDINGS = '/v3/service_credential_bindings';

interface AppBinding {
  guid: string;
  created_at: string;
  relationships: { service_instance: { data: { guid: string } } };
}

async function appBindings({ client }: Cf, query: Record<string, string>): Promise<AppBinding[]> {
  return (await client.list<AppBinding>(BINDINGS, { type: 'app', per_page: 5000, ...query })).resources;
}

/** Service instances bound to apps and to routes. */
export function registerServiceBindingCommands(program: Command, cf: Cf): void {
  const { terminal } = cf;
  const here = (): string => `${whereAndWho(cf)}...`;

  withWait(
    withParameters(
      program
        .command('bind-service <APP_NAME> <SERVICE_INSTANCE>')
        .alias('bs')
        .description('Bind a service instance to an app'),
    ),
  )
    .option('--binding-name <name>', "What the app calls it; the instance's name otherwise")
    .addOption(
      new Option('--strategy <strategy>', 'multiple: one more binding beside those that are there').choices([
        'single',
        'multiple',
      ]),
    )
    .action(async (app_name: string, name: string, flags: BindingFlags) => {
      requireSpace(cf);
      terminal.say(terminal.text`Binding service instance ${name} to app ${app_name} ` + here());
      const [app, instance] = [await findApp(cf, app_name), await findInstance(cf, name)];
      const between = { service_instance_guids: instance.guid, app_guids: app.guid };
      if (flags.strategy !== 'multiple' && (await appBindings(cf, between)).length > 0) {
        terminal.say(`App ${app_name} is already bound to service instance ${name}.`);
        return terminal.ok();
      }
      const json = {
        type: 'app',
        ...(flags.bindingName !== undefined && { name: flags.bindingName }),
        ...(flags.strategy !== undefined && { strategy: flags.strategy }),
        ...parameters(flags.c),
        relationships: { app: { data: { guid: app.guid } }, service_instance: { data: { guid: instance.guid } } },
      };
      const isDone = await change(cf, BINDINGS, { method: 'POST', json }, flags.wait);
      terminal.ok();
      const tip = `use 'cf restage ${app_name}' to ensure your env variable changes take effect`;
      if (isDone) return terminal.say(`TIP: U${tip.slice(1)}`);
      terminal.say(`Binding in progress. Use 'cf service ${name}' to check operation status.`);
      terminal.say(`\nTIP: Once this operation succeeds, ${tip}`);
    });

  withWait(
    program
      .command('unbind-service <APP_NAME> <SERVICE_INSTANCE>')
      .alias('us')
      .description('Unbind a service instance from an app'),
  )
    .option('--guid <guid>', 'This binding alone, of several')
    .action(async (app_name: string, name: string, flags: BindingFlags) => {
      requireSpace(cf);
      terminal.say(terminal.text`Unbinding app ${app_name} from service ${name} ` + here());
      const [app, instance] = [await findApp(cf, app_name), await findInstance(cf, name)];
      const all = await appBindings(cf, { service_instance_guids: instance.guid, app_guids: app.guid });
      const wanted = flags.guid === undefined ? all : all.filter(({ guid }) => guid === flags.guid);
      if (wanted.length === 0) {
        terminal.say(
          all.length === 0
            ? `Binding between ${name} and ${app_name} does not exist`
            : `Service binding with GUID ${flags.guid ?? ''} does not exist`,
        );
        return terminal.ok();
      }
      for (const { guid } of wanted) await deleteBinding(cf, { guid, instance_name: name, wait: flags.wait });
    });

  withWait(
    program
      .command('cleanup-outdated-service-bindings <APP_NAME>')
      .description('Delete all but the newest of the bindings between an app and each service instance'),
  )
    .option('-f, --force', 'Do not ask first')
    .option('--keep-last <n>', 'So many of them stay', Number, 1)
    .option('--service-instance <name>', 'The bindings of this instance alone')
    .action(async (app_name: string, flags: CleanupFlags) => {
      requireSpace(cf);
      terminal.say(terminal.text`Cleaning up outdated service bindings for app ${app_name} ` + here());
      await cleanUp(cf, app_name, flags);
    });

  const withRoute = (command: Command): Command =>
    withWait(command).option('-n, --hostname <host>', 'Host of the route').option('--path <path>', 'Path of the route');

  withRoute(
    withParameters(
      program
        .command('bind-route-service <DOMAIN> <SERVICE_INSTANCE>')
        .alias('brs')
        .description('Bind a service instance to an HTTP route'),
    ),
  ).action(async (domain: string, name: string, flags: RouteFlags & BindingFlags) => {
    requireSpace(cf);
    const shown = urlOf(domain, flags);
    terminal.say(terminal.text`Binding route ${shown} to service instance ${name} ` + here());
    const route = await mustFindRoute(cf, domain, flags);
    const instance = await findInstance(cf, name);
    if (await findRouteBinding(cf, route.guid, instance.guid)) {
      terminal.say(`Route ${shown} is already bound to service instance ${name}.`);
      return terminal.ok();
    }
    const relationships = {
      route: { data: { guid: route.guid } },
      service_instance: { data: { guid: instance.guid } },
    };
    const json = { relationships, ...parameters(flags.c) };
    const isDone = await change(cf, ROUTE_BINDINGS, { method: 'POST', json }, flags.wait);
    terminal.ok();
    if (!isDone) terminal.say('Binding in progress.');
  });

  withRoute(
    program
      .command('unbind-route-service <DOMAIN> <SERVICE_INSTANCE>')
      .alias('urs')
      .description('Unbind a service instance from an HTTP route')
      .option('-f', 'Do not ask first'),
  ).action(async (domain: string, name: string, flags: RouteFlags & BindingFlags & { f?: true }) => {
    requireSpace(cf);
    const shown = urlOf(domain, flags);
    if (!(await terminal.confirm(`Really unbind route ${shown} from service instance ${name}?`, flags.f)))
      return terminal.say('Unbind cancelled');
    terminal.say(terminal.text`Unbinding route ${shown} from service instance ${name} ` + here());
    const route = await mustFindRoute(cf, domain, flags);
    const binding = await findRouteBinding(cf, route.guid, (await findInstance(cf, name)).guid);
    if (!binding) terminal.say(`Route ${shown} was not bound to service instance ${name}.`);
    const path = `${ROUTE_BINDINGS}/${binding?.guid ?? ''}`;
    const isDone = !binding || (await change(cf, path, { method: 'DELETE' }, flags.wait));
    terminal.ok();
    if (!isDone) terminal.say('Unbinding in progress.');
  });
}

interface CleanupFlags {
  force?: true;
  keepLast: number;
  serviceInstance?: string;
  wait?: true;
}

async function cleanUp(cf: Cf, app_name: string, flags: CleanupFlags): Promise<void> {
  const { terminal, client } = cf;
  const { guid: app_guids } = await findApp(cf, app_name);
  const of =
    flags.serviceInstance === undefined
      ? {}
      : { service_instance_guids: (await findInstance(cf, flags.serviceInstance)).guid };
  const isCount = Number.isInteger(flags.keepLast) && flags.keepLast > 0;
  if (!isCount) terminal.warn(`Invalid argument for --keep-last: ${flags.keepLast}. Using default value of 1.`);
  const outdated = outdatedBindings(await appBindings(cf, { app_guids, ...of }), isCount ? flags.keepLast : 1);
  if (outdated.length === 0) {
    terminal.say('No outdated service bindings found.');
    return terminal.ok();
  }
  terminal.say(`Found ${outdated.length} outdated service binding${outdated.length === 1 ? '' : 's'}.`);
  if (!(await terminal.confirm('Really delete all outdated service bindings?', flags.force)))
    return terminal.say('Outdated service bindings have not been deleted.');
  for (const { guid, relationships } of outdated) {
    const instance = await client.get<Named>(`/v3/service_instances/${relationships.service_instance.data.guid}`);
    await deleteBinding(cf, { guid, instance_name: instance.name, wait: flags.wait });
  }
}

/** Of an app's bindings all but the newest to each instance: instance by instance, the oldest first. */
function outdatedBindings(bindings: readonly AppBinding[], keep: number): AppBinding[] {
  const byInstance = Object.groupBy(bindings, (binding) => binding.relationships.service_instance.data.guid);
  return Object.entries(byInstance)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .flatMap(([, group = []]) =>
      group.toSorted((one, other) => Date.parse(one.created_at) - Date.parse(other.created_at)).slice(0, -keep),
    );
}

async function deleteBinding(
  cf: Cf,
  { guid, instance_name, wait }: { guid: string; instance_name: string; wait: true | undefined },
): Promise<void> {
  cf.terminal.say(`Deleting service binding ${guid}...`);
  const isDone = await change(cf, `${BINDINGS}/${guid}`, { method: 'DELETE' }, wait);
  cf.terminal.ok();
  if (!isDone) cf.terminal.say(`Unbinding in progress. Use 'cf service ${instance_name}' to check operation status.`);
}

const ROUTE_BINDINGS = '/v3/service_route_bindings';

async function findRouteBinding(
  { client }: Cf,
  route: string,
  instance: string,
): Promise<{ guid: string } | undefined> {
  const query = { route_guids: route, service_instance_guids: instance };
  return (await client.list<{ guid: string }>(ROUTE_BINDINGS, query)).resources[0];
}
