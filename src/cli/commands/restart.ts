import type { Command } from 'commander';
import { showAppSummary } from '../app-summary.ts';
import type { Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { App } from '../resources.ts';
import { deploy, newestPackage, setDroplet, stage, waitForStart } from '../staging.ts';

export interface RestartFlags {
  strategy?: string;
  maxInFlight?: number;
  instanceSteps?: string;
  wait: boolean;
}

/** The flags of all commands that start an app anew. */
export function withRestartFlags(command: Command): Command {
  return command
    .option('--strategy <strategy>', 'Deployment strategy can be canary, rolling or null.')
    .option('--max-in-flight <n>', 'Instances started at a time with --strategy', Number)
    .option('--instance-steps <steps>', 'Steps of a canary deployment in percent (e.g. 20,40,60)')
    .option('--no-wait', 'Exit when the first instance of the web process is healthy');
}

/** What a deployment takes of the flags. Errors: CommandError. */
export function deploymentOptions(flags: RestartFlags): {
  strategy: string;
  no_wait: boolean;
  max_in_flight?: number;
  steps?: number[];
} {
  const strategy = flags.strategy ?? 'rolling';
  if (flags.instanceSteps !== undefined && strategy !== 'canary')
    throw new CommandError('Incorrect Usage: --instance-steps is only valid for deployments with strategy canary');
  const steps = flags.instanceSteps?.split(',').map(Number);
  if (steps?.some((step) => !Number.isInteger(step)))
    throw new CommandError('Incorrect Usage: --instance-steps takes whole numbers, separated by commas');
  return {
    strategy,
    no_wait: !flags.wait,
    ...(flags.maxInFlight !== undefined && { max_in_flight: flags.maxInFlight }),
    ...(steps !== undefined && { steps }),
  };
}

export async function stageAndTrace(cf: Cf, app: App, package_guid: string): Promise<string> {
  cf.terminal.say('Staging app and tracing logs...');
  return await stage(cf, app, package_guid);
}

/** Stages the newest package when no droplet was made of it yet. Returns the new droplet's guid. */
export async function stageIfNeeded(cf: Cf, app: App): Promise<string | undefined> {
  const latest = await newestPackage(cf, app);
  if (!latest) return undefined;
  const { resources } = await cf.client.list<{ guid: string }>(`/v3/packages/${latest.guid}/droplets`, {
    states: 'STAGED',
    per_page: 1,
  });
  return resources.length > 0 ? undefined : await stageAndTrace(cf, app, latest.guid);
}

export async function announceAndWait(cf: Cf, app: App, no_wait = false): Promise<void> {
  cf.terminal.say(`\nWaiting for app ${cf.terminal.name(app.name)} to start...\n`);
  await waitForStart(cf, app, { no_wait });
}

/** Starts an app anew, with another droplet or its own, at once or by a deployment, and shows it. */
export async function restart(
  cf: Cf,
  app: App,
  options: RestartFlags & { droplet: string | undefined },
): Promise<void> {
  const { client } = cf;
  const { droplet, strategy } = options;
  if (strategy !== undefined && strategy !== 'null') {
    const current =
      droplet ??
      (await client.get<{ data: { guid: string } }>(`/v3/apps/${app.guid}/relationships/current_droplet`)).data.guid;
    cf.terminal.say('Waiting for app to deploy...\n');
    await deploy(cf, app, { droplet: current, ...deploymentOptions(options) });
  } else {
    if (app.state === 'STARTED') {
      cf.terminal.say('Stopping app...');
      await client.call(`/v3/apps/${app.guid}/actions/stop`, { method: 'POST' });
    }
    if (droplet !== undefined) await setDroplet(cf, app, droplet);
    await client.call(`/v3/apps/${app.guid}/actions/start`, { method: 'POST' });
    await announceAndWait(cf, app, !options.wait);
  }
  await showAppSummary(cf, await client.get<App>(`/v3/apps/${app.guid}`));
}
