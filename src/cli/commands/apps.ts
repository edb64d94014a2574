import type { Command } from 'commander';
import { showAppSummary, sortProcesses } from '../app-summary.ts';
import { findApp, requireSpace, whereAndWho, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { App, Process, Route } from '../resources.ts';
import { bytesOrUnlimited, megabytes, wholeNumber } from '../quantities.ts';
import { newestPackage, setDroplet } from '../staging.ts';
import {
  announceAndWait,
  restart,
  stageAndTrace,
  stageIfNeeded,
  withRestartFlags,
  type RestartFlags,
} from './restart.ts';

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
    .argument('<APP_NAME>')
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
    .argument('<APP_NAME>')
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
    .argument('<APP_NAME>')
    .action(async (app_name: string) => {
      const app = await findApp(cf, app_name);
      terminal.say(`Stopping app ${name(app_name)} ${whereAndWho(cf)}...\n`);
      await client.call(`/v3/apps/${app.guid}/actions/stop`, { method: 'POST' });
      terminal.ok();
    });

  withRestartFlags(
    program
      .command('restart <APP_NAME>')
      .alias('rs')
      .description('Stop all instances of the app, then start them again.'),
  ).action(async (app_name: string, flags: RestartFlags) => {
    const app = await findApp(cf, app_name);
    terminal.say(`Restarting app ${name(app_name)} ${whereAndWho(cf)}...\n`);
    await restart(cf, app, { ...flags, droplet: await stageIfNeeded(cf, app) });
  });

  withRestartFlags(
    program
      .command('restage <APP_NAME>')
      .alias('rg')
      .description(
        "Stage the app's latest package into a droplet and restart the app with this new droplet and updated configuration (environment variables, service bindings, buildpack, stack, etc.).",
      ),
  ).action(async (app_name: string, flags: RestartFlags) => {
    const app = await findApp(cf, app_name);
    terminal.say(`Restaging app ${name(app_name)} ${whereAndWho(cf)}...\n`);
    const latest = await newestPackage(cf, app);
    if (!latest)
      throw new CommandError(
        `App '${app_name}' has no eligible packages.\n\nTIP: Use 'cf packages ${app_name}' to list packages in your app. Use 'cf create-package' to create one.`,
      );
    await restart(cf, app, { ...flags, droplet: await stageAndTrace(cf, app, latest.guid) });
  });

  program
    .command('delete')
    .alias('d')
    .description('Delete an app')
    .argument('<APP_NAME>')
    .option('-f', 'Force deletion without confirmation')
    .option('-r', 'Also delete any mapped routes')
    .action(async (app_name: string, flags: { f?: true; r?: true }) => await deleteApp(cf, app_name, flags));

  program
    .command('scale')
    .description('Change or view the instance count, disk space limit, memory limit, and log rate limit for an app')
    .argument('<APP_NAME>')
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
    ...(flags.instances !== undefined && { instances: wholeNumber(String(flags.instances), '-i') }),
    ...(flags.m !== undefined && { memory_in_mb: megabytes(flags.m) }),
    ...(flags.k !== undefined && { disk_in_mb: megabytes(flags.k) }),
    ...(flags.l !== undefined && { log_rate_limit_in_bytes_per_second: bytesOrUnlimited(flags.l) }),
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
