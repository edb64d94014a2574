import type { Command } from 'commander';
import { showAppSummary } from '../app-summary.ts';
import { findApp, whereAndWho, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import { wholeNumber } from '../quantities.ts';
import type { App, Deployment } from '../resources.ts';
import { deploy, waitForDeployment } from '../staging.ts';
import { deploymentOptions, withRestartFlags, type RestartFlags } from './restart.ts';

interface Revision {
  guid: string;
  version: number;
  description: string;
  deployable: boolean;
  created_at: string;
  droplet: { guid: string } | null;
  metadata: { labels: Record<string, string>; annotations: Record<string, string> };
}

/** Revisions of apps, and the deployments that bring them. */
export function registerRevisionCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('revisions <APP_NAME>')
    .description('List revisions of an app')
    .action(async (app_name: string) => await listRevisions(cf, app_name));

  program
    .command('revision <APP_NAME>')
    .description('Show details for a specific app revision')
    .option('--version <n>', 'Revision to show; those that are deployed otherwise')
    .action(async (app_name: string, flags: { version?: string }) => {
      const { version } = flags;
      terminal.say(
        (version === undefined
          ? terminal.text`Showing revisions for app ${app_name} `
          : terminal.text`Showing revision ${version} for app ${app_name} `) + `${whereAndWho(cf)}...\n`,
      );
      const app = await findApp(cf, app_name);
      const deployed = await deployedRevisions(cf, app);
      const shown = version === undefined ? deployed : [await findRevision(cf, app, version)];
      for (const revision of shown)
        await showRevision(
          cf,
          revision,
          deployed.some(({ guid }) => guid === revision.guid),
        );
    });

  withRestartFlags(
    program
      .command('rollback <APP_NAME>')
      .description('Rollback to the specified revision of an app')
      .requiredOption('--version <n>', 'Revision to go back to')
      .option('-f', 'Do not ask first'),
  ).action(async (app_name: string, flags: RestartFlags & { version: string; f?: true }) => {
    const app = await findApp(cf, app_name);
    const revision = await findRevision(cf, app, flags.version);
    terminal.say(
      terminal.text`Rolling '${app_name}' back to revision '${flags.version}' will create a new revision. The new revision will use the settings from revision '${flags.version}'.`,
    );
    if (!(await terminal.confirm('Are you sure you want to continue?', flags.f)))
      return terminal.say(`App '${app_name}' has not been rolled back to revision '${flags.version}'.`);
    terminal.say(
      terminal.text`Rolling back to revision ${flags.version} for app ${app_name} ` + `${whereAndWho(cf)}...`,
    );
    terminal.say('\nWaiting for app to deploy...\n');
    await deploy(cf, app, { revision: revision.guid, ...deploymentOptions(flags) });
    await showAppSummary(cf, await findApp(cf, app_name));
    terminal.ok();
  });

  program
    .command('cancel-deployment <APP_NAME>')
    .description(
      "Cancel the most recent deployment for an app. Resets the current droplet to the previous deployment's droplet.",
    )
    .action(async (app_name: string) => {
      terminal.say(terminal.text`Canceling deployment for app ${app_name} ` + `${whereAndWho(cf)}...`);
      const deployment = await activeDeployment(cf, await findApp(cf, app_name));
      await client.call(`/v3/deployments/${deployment.guid}/actions/cancel`, { method: 'POST' });
      terminal.ok();
      terminal.say(`TIP: Run 'cf app ${app_name}' to view app status.`);
    });

  program
    .command('continue-deployment <APP_NAME>')
    .description('Continue the most recent deployment for an app.')
    .option('--no-wait', 'Exit when the first instance of the web process is healthy')
    .action(async (app_name: string, flags: { wait: boolean }) => {
      terminal.say(terminal.text`Continuing deployment for app ${app_name} ` + `${whereAndWho(cf)}...\n`);
      const app = await findApp(cf, app_name);
      const { guid } = await activeDeployment(cf, app);
      await client.call(`/v3/deployments/${guid}/actions/continue`, { method: 'POST' });
      terminal.say('Waiting for app to deploy...\n');
      await waitForDeployment(cf, app, { guid, no_wait: !flags.wait });
      await showAppSummary(cf, await findApp(cf, app_name));
      terminal.say(`\nTIP: Run 'cf app ${app_name}' to view app status.`);
    });
}

async function activeDeployment({ client }: Cf, app: App): Promise<Deployment> {
  const query = { app_guids: app.guid, status_values: 'ACTIVE', order_by: '-created_at', per_page: 1 };
  const [newest] = (await client.get<{ resources: Deployment[] }>('/v3/deployments', query)).resources;
  if (!newest) throw new CommandError('No active deployment found for app.');
  return newest;
}

async function deployedRevisions({ client }: Cf, app: App): Promise<Revision[]> {
  return (await client.list<Revision>(`/v3/apps/${app.guid}/revisions/deployed`)).resources;
}

async function findRevision({ client }: Cf, app: App, version: string): Promise<Revision> {
  const query = { versions: wholeNumber(version, '--version') };
  const [found] = (await client.list<Revision>(`/v3/apps/${app.guid}/revisions`, query)).resources;
  if (!found) throw new CommandError(`Revision '${version}' not found`);
  return found;
}

async function listRevisions(cf: Cf, app_name: string): Promise<void> {
  const { terminal, client } = cf;
  terminal.say(terminal.text`Getting revisions for app ${app_name} ` + `${whereAndWho(cf)}...`);
  const app = await findApp(cf, app_name);
  const { enabled } = await client.get<{ enabled: boolean }>(`/v3/apps/${app.guid}/features/revisions`);
  if (!enabled)
    terminal.warn(
      `Warning: Revisions for app '${app_name}' are disabled. Updates to the app will not create new revisions.`,
    );
  if (app.state === 'STOPPED')
    terminal.say(
      '\nInfo: this app is in a stopped state. It is not possible to determine which revision is currently deployed.',
    );
  terminal.say();
  const { resources } = await client.list<Revision>(`/v3/apps/${app.guid}/revisions`, { order_by: '-created_at' });
  if (resources.length === 0) return terminal.say('No revisions found');
  const deployed = new Set((await deployedRevisions(cf, app)).map(({ guid }) => guid));
  if (deployed.size > 1)
    terminal.say('Info: this app is in the middle of a deployment. More than one revision is deployed.\n');
  const rows = resources.map(({ version, guid, description, deployable, created_at }) => [
    `${version}${deployed.has(guid) ? '(deployed)' : ''}`,
    description,
    String(deployable),
    guid,
    created_at,
  ]);
  terminal.table([['revision', 'description', 'deployable', 'revision guid', 'created at'], ...rows]);
}

async function showRevision({ terminal, client }: Cf, revision: Revision, isDeployed: boolean): Promise<void> {
  terminal.facts([
    ['revision:', String(revision.version)],
    ['deployed:', String(isDeployed)],
    ['description:', revision.description],
    ['deployable:', String(revision.deployable)],
    ['revision GUID:', revision.guid],
    ['droplet GUID:', revision.droplet?.guid ?? ''],
    ['created on:', revision.created_at],
  ]);
  terminal.say();
  const { var: variables } = await client.get<{ var: Record<string, string> }>(
    `/v3/revisions/${revision.guid}/environment_variables`,
  );
  for (const [title, values] of [
    ['labels:', revision.metadata.labels],
    ['annotations:', revision.metadata.annotations],
    ['application environment variables:', variables],
  ] as const) {
    terminal.say(terminal.style('bold', title));
    const entries = Object.entries(values);
    terminal.facts(entries.map(([key, value]) => [`${key}:`, value]));
    if (entries.length > 0) terminal.say();
  }
}
