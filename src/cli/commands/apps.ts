import type { Command } from 'commander';
import { showAppSummary, sortProcesses } from '../app-summary.ts';
import { findApp, requireSpace, whereAndWho, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { App, Package, Process, Route } from '../resources.ts';
import { deploy, stage, waitForStart } from '../staging.ts';

export function registerAppCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;
  const name = (text: string): string => terminal.name(text);

  program
    .command('apps')
    .alias('a')
    .description('List all apps in the target space')
    .option('--labels <selector>', 'Selector to filter apps by labels')
    .action(async ({ labels }: { labels?: string }) => await listApps(cf, labels));

  program
    .command('app')
    .description('Display health and status for an app')
    .argument('<app>')
    .option('--guid', "Retrieve and display the given app's guid")
    .action(async (app_name: string, { guid }: { guid?: true }) => {
      const app = await findApp(cf, app_name);
      if (guid) return terminal.say(app.guid);
      terminal.say(`Showing health and status for app ${name(app_name)} ${whereAndWho(cf)}...\n`);
      await showAppSummary(cf, app);
    });

  program
    .command('start')
    .alias('st')
    .description('Start an app')
    .argument('<app>')
    .action(async (app_name: string) => {
      const app = await findApp(cf, app_name);
      terminal.say(`Starting app ${name(app_name)} ${whereAndWho(cf)}...\n`);
      if (app.state === 'STARTED') terminal.say(`App '${app_name}' is already started.`);
      else {
        const droplet = await stageIfNeeded(cf, app);
        if (droplet !== undefined) await setDroplet(cf, app, droplet);
        await client.call(`/v3/apps/${app.guid}/actions/start`, { method: 'POST' });
        await announceAndWait(cf, app);
      }
      await showAppSummary(cf, await findApp(cf, app_name));
    });

  program
    .command('stop')
    .alias('sp')
    .description('Stop an app')
    .argument('<app>')
    .action(async (app_name: string) => {
      const app = await findApp(cf, app_name);
      terminal.say(`Stopping app ${name(app_name)} ${whereAndWho(cf)}...\n`);
      await client.call(`/v3/apps/${app.guid}/actions/stop`, { method: 'POST' });
      terminal.ok();
    });

  program
    .command('restart')
    .alias('rs')
    .description('Stop all instances of the app, then start them again.')
    .argument('<app>')
    .option('--strategy <strategy>', 'Deployment strategy can be canary, rolling or null.')
    .option('--max-in-flight <n>', 'instances started at a time with --strategy', Number)
    .option('--no-wait', 'Exit when the first instance of the web process is healthy')
    .action(async (app_name: string, flags: { strategy?: string; maxInFlight?: number; wait: boolean }) => {
      const app = await findApp(cf, app_name);
      terminal.say(`Restarting app ${name(app_name)} ${whereAndWho(cf)}...\n`);
      await restart(cf, app, { ...flags, droplet: await stageIfNeeded(cf, app) });
    });

  program
    .command('restage')
    .alias('rg')
    .description(
      "Stage the app's latest package into a droplet and restart the app with this new droplet and updated configuration",
    )
    .argument('<app>')
    .option('--strategy <strategy>', 'Deployment strategy can be canary, rolling or null.')
    .option('--max-in-flight <n>', 'instances started at a time with --strategy', Number)
    .option('--no-wait', 'Exit when the first instance of the web process is healthy')
    .action(async (app_name: string, flags: { strategy?: string; maxInFlight?: number; wait: boolean }) => {
      const app = await findApp(cf, app_name);
      terminal.say(`Restaging app ${name(app_name)} ${whereAndWho(cf)}...\n`);
      const latest = await newestPackage(cf, app);
      if (!latest)
        throw new CommandError(
          `App '${app_name}' has no eligible packages.\n\nTIP: Use 'cf packages ${app_name}' to list packages in your app. Use 'cf create-package' to create one.`,
        );
      terminal.say('Staging app and tracing logs...');
      await restart(cf, app, { ...flags, droplet: await stage(cf, app, latest.guid) });
    });

  program
    .command('delete')
    .alias('d')
    .description('Delete an app')
    .argument('<app>')
    .option('-f', 'Force deletion without confirmation')
    .option('-r', 'Also delete any mapped routes')
    .action(async (app_name: string, flags: { f?: true; r?: true }) => await deleteApp(cf, app_name, flags));

  program
    .command('scale')
    .description('Change or view the instance count, disk space limit, memory limit, and log rate limit for an app')
    .argument('<app>')
    .option('-i, --instances <n>', 'Number of instances', Number)
    .option('-k <disk>', 'Disk limit (e.g. 256M, 1024M, 1G)')
    .option('-m <memory>', 'Memory limit (e.g. 256M, 1024M, 1G)')
    .option('-l <rate>', 'Log rate limit per second, in bytes (e.g. 128B, 4K, 1M). -l=-1 represents unlimited')
    .option('-f, --force', 'Force restart of app without prompt')
    .option('--process <type>', 'App process to scale', 'web')
    .action(async (app_name: string, flags: ScaleFlags) => await scale(cf, app_name, flags));
}

async function listApps(cf: Cf, labels: string | undefined): Promise<void> {
  const { terminal, client } = cf;
  const space = requireSpace(cf);
  terminal.say(`Getting apps ${whereAndWho(cf)}...\n`);
  const { resources: apps } = await client.list<App>('/v3/apps', {
    space_guids: space.guid,
    order_by: 'name',
    per_page: 5000,
    label_selector: labels,
  });
  if (apps.length === 0) return terminal.say('No apps found');
  const [processes, routes] = await Promise.all([
    client.list<Process>('/v3/processes', { space_guids: space.guid, embed: 'process_instances', per_page: 5000 }),
    client.list<Route>('/v3/routes', { space_guids: space.guid, per_page: 5000 }),
  ]);
  const rows = apps.map((app) => {
    const own = sortProcesses(
      processes.resources.filter((process) => process.relationships.app.data.guid === app.guid),
    );
    const running = own
      .filter((process) => process.type === 'web' || process.instances > 0)
      .map(
        ({ type, instances, process_instances }) =>
          `${type}:${process_instances?.filter(({ state }) => state === 'RUNNING').length ?? 0}/${instances}`,
      );
    const urls = routes.resources
      .filter((route) => route.destinations.some((to) => to.app.guid === app.guid))
      .map((route) => route.url);
    return [app.name, app.state.toLowerCase(), running.join(', '), urls.join(', ')];
  });
  terminal.table([['name', 'requested state', 'processes', 'routes'], ...rows]);
}

async function newestPackage({ client }: Cf, app: App): Promise<Package | undefined> {
  const { resources } = await client.list<Package>('/v3/packages', {
    app_guids: app.guid,
    states: 'READY',
    order_by: '-created_at',
    per_page: 1,
  });
  return resources[0];
}

/** Stages the newest package when no droplet was made of it yet. Returns the new droplet's guid. */
async function stageIfNeeded(cf: Cf, app: App): Promise<string | undefined> {
  const latest = await newestPackage(cf, app);
  if (!latest) return undefined;
  const { resources } = await cf.client.list<{ guid: string }>(`/v3/packages/${latest.guid}/droplets`, {
    states: 'STAGED',
    per_page: 1,
  });
  if (resources.length > 0) return undefined;
  cf.terminal.say('Staging app and tracing logs...');
  return await stage(cf, app, latest.guid);
}

async function setDroplet({ client }: Cf, app: App, guid: string): Promise<void> {
  await client.call(`/v3/apps/${app.guid}/relationships/current_droplet`, {
    method: 'PATCH',
    json: { data: { guid } },
  });
}

async function announceAndWait(cf: Cf, app: App, no_wait = false): Promise<void> {
  cf.terminal.say(`\nWaiting for app ${cf.terminal.name(app.name)} to start...\n`);
  await waitForStart(cf, app, { no_wait });
}

async function restart(
  cf: Cf,
  app: App,
  options: { droplet: string | undefined; strategy?: string; maxInFlight?: number; wait: boolean },
): Promise<void> {
  const { client } = cf;
  const { droplet, strategy } = options;
  if (strategy !== undefined && strategy !== 'null') {
    const current =
      droplet ??
      (await client.get<{ data: { guid: string } }>(`/v3/apps/${app.guid}/relationships/current_droplet`)).data.guid;
    cf.terminal.say('Waiting for app to deploy...\n');
    const max_in_flight = options.maxInFlight === undefined ? {} : { max_in_flight: options.maxInFlight };
    await deploy(cf, app, { droplet: current, strategy, no_wait: !options.wait, ...max_in_flight });
  } else {
    if (app.state === 'STARTED') {
      cf.terminal.say('Stopping app...');
      await client.call(`/v3/apps/${app.guid}/actions/stop`, { method: 'POST' });
    }
    if (droplet !== undefined) await setDroplet(cf, app, droplet);
    await client.call(`/v3/apps/${app.guid}/actions/start`, { method: 'POST' });
    await announceAndWait(cf, app, !options.wait);
  }
  await showAppSummary(cf, await findApp(cf, app.name));
}

async function deleteApp(cf: Cf, app_name: string, flags: { f?: true; r?: true }): Promise<void> {
  const { terminal, client } = cf;
  requireSpace(cf);
  if (
    !flags.f &&
    !/^y(es)?$/i.test(
      await terminal.ask(`Really delete the app ${app_name}${flags.r ? ' and associated routes' : ''}? [yN]`),
    )
  ) {
    return terminal.say(`App '${app_name}' has not been deleted.`);
  }
  terminal.say(`Deleting app ${terminal.name(app_name)} ${whereAndWho(cf)}...`);
  const app = await findApp(cf, app_name).catch((error: unknown) => {
    if (error instanceof CommandError && error.message === `App '${app_name}' not found.`) return undefined;
    throw error;
  });
  if (!app) {
    terminal.warn(`App '${app_name}' does not exist.`);
    return terminal.ok();
  }
  const routes = flags.r ? (await client.list<Route>(`/v3/apps/${app.guid}/routes`)).resources : [];
  const shared = routes.find((route) => route.destinations.some((to) => to.app.guid !== app.guid));
  if (shared)
    throw new CommandError(
      `App '${app_name}' was not deleted because route '${shared.url}' is mapped to more than one app.`,
    );
  await client.callAndWait(`/v3/apps/${app.guid}`, { method: 'DELETE' });
  for (const route of routes) await client.callAndWait(`/v3/routes/${route.guid}`, { method: 'DELETE' });
  terminal.ok();
}

interface ScaleFlags {
  instances?: number;
  k?: string;
  m?: string;
  l?: string;
  force?: true;
  process: string;
}

async function scale(cf: Cf, app_name: string, flags: ScaleFlags): Promise<void> {
  const { terminal, client } = cf;
  const app = await findApp(cf, app_name);
  const change = {
    ...(flags.instances !== undefined && { instances: wholeNumber(flags.instances, '-i') }),
    ...(flags.m !== undefined && { memory_in_mb: megabytes(flags.m) }),
    ...(flags.k !== undefined && { disk_in_mb: megabytes(flags.k) }),
    ...(flags.l !== undefined && { log_rate_limit_in_bytes_per_second: flags.l === '-1' ? -1 : bytes(flags.l) }),
  };
  if (Object.keys(change).length === 0) {
    terminal.say(`Showing current scale of app ${terminal.name(app_name)} ${whereAndWho(cf)}...\n`);
    return await showAppSummary(cf, app);
  }
  const needsRestart = flags.m !== undefined || flags.k !== undefined || flags.l !== undefined;
  if (
    needsRestart &&
    !flags.force &&
    !/^y(es)?$/i.test(
      await terminal.ask(`This will cause the app to restart. Are you sure you want to scale ${app_name}? [yN]`),
    )
  ) {
    return terminal.say('Scaling cancelled');
  }
  terminal.say(`Scaling app ${terminal.name(app_name)} ${whereAndWho(cf)}...\n`);
  await client.call(`/v3/apps/${app.guid}/processes/${flags.process}/actions/scale`, { method: 'POST', json: change });
  if (needsRestart && app.state === 'STARTED') {
    terminal.say(`Stopping app ${terminal.name(app_name)} ${whereAndWho(cf)}...\n`);
    await client.call(`/v3/apps/${app.guid}/actions/stop`, { method: 'POST' });
    await client.call(`/v3/apps/${app.guid}/actions/start`, { method: 'POST' });
    await announceAndWait(cf, app);
  }
  await showAppSummary(cf, await findApp(cf, app_name));
}

function wholeNumber(value: number, flag: string): number {
  if (!Number.isInteger(value) || value < 0) throw new CommandError(`Incorrect Usage: ${flag} takes a whole number`);
  return value;
}

/** `256M`, `1G`, `1GB` to bytes. Errors: CommandError. */
function bytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([BKMGT])B?$/i.exec(text.trim());
  if (!match)
    throw new CommandError(
      `Incorrect Usage: byte quantity must be an integer with a unit of measurement like M, MB, G, or GB: ${text}`,
    );
  return Math.floor(Number(match[1]) * 1024 ** 'BKMGT'.indexOf((match[2] ?? 'B').toUpperCase()));
}

const megabytes = (text: string): number => Math.floor(bytes(text) / 1024 ** 2);
