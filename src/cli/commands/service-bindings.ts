import type { Command } from 'commander';
import { findApp, requireSpace, whereAndWho, type Cf } from '../context.ts';
import type { Named } from '../resources.ts';
import { mustFindRoute } from './route-settings.ts';
import { urlOf, type RouteFlags } from './routes.ts';
import { change, findInstance, parameters, withParameters, withWait } from './service-shared.ts';

interface BindingFlags {
  c?: string;
  bindingName?: string;
  wait?: true;
}

const BINDINGS = '/v3/service_credential_bindings';

async function findBinding({ client }: Cf, query: Record<string, string>): Promise<Named | undefined> {
  return (await client.list<Named>(BINDINGS, { type: 'app', ...query })).resources[0];
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
    .action(async (app_name: string, name: string, flags: BindingFlags) => {
      requireSpace(cf);
      terminal.say(terminal.text`Binding service instance ${name} to app ${app_name} ` + here());
      const [app, instance] = [await findApp(cf, app_name), await findInstance(cf, name)];
      if (await findBinding(cf, { service_instance_guids: instance.guid, app_guids: app.guid })) {
        terminal.say(`App ${app_name} is already bound to service instance ${name}.`);
        return terminal.ok();
      }
      const json = {
        type: 'app',
        ...(flags.bindingName !== undefined && { name: flags.bindingName }),
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
  ).action(async (app_name: string, name: string, flags: BindingFlags) => {
    requireSpace(cf);
    terminal.say(terminal.text`Unbinding app ${app_name} from service ${name} ` + here());
    const [app, instance] = [await findApp(cf, app_name), await findInstance(cf, name)];
    const binding = await findBinding(cf, { service_instance_guids: instance.guid, app_guids: app.guid });
    if (!binding) terminal.say(`Binding between ${name} and ${app_name} does not exist`);
    const isDone = !binding || (await change(cf, `${BINDINGS}/${binding.guid}`, { method: 'DELETE' }, flags.wait));
    terminal.ok();
    if (!isDone) terminal.say(`Unbinding in progress. Use 'cf service ${name}' to check operation status.`);
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

const ROUTE_BINDINGS = '/v3/service_route_bindings';

async function findRouteBinding(
  { client }: Cf,
  route: string,
  instance: string,
): Promise<{ guid: string } | undefined> {
  const query = { route_guids: route, service_instance_guids: instance };
  return (await client.list<{ guid: string }>(ROUTE_BINDINGS, query)).resources[0];
}
