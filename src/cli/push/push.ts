import { resolve } from 'node:path';
import { showAppSummary } from '../app-summary.ts';
import { findApp, requireSpace, whereAndWho, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { App } from '../resources.ts';
import { deploy, stage, waitForStart } from '../staging.ts';
import { showDiff } from './diff.ts';
import {
  findManifest,
  manifestYaml,
  readManifest,
  readVariables,
  type Manifest,
  type ManifestApp,
} from './manifest.ts';
import { checkDocker, dockerOf, dockerOfFlags, dockerPackage } from './docker.ts';
import { checkSource, uploadPackage } from './upload.ts';

/** The flags of `cf push`, by the names that commander gives them. */
export interface PushFlags {
  buildpack?: string[];
  startCommand?: string;
  manifest?: string | false;
  instances?: number;
  disk?: string;
  memory?: string;
  logRateLimit?: string;
  path?: string;
  stack?: string;
  appStartTimeout?: number;
  healthCheckType?: string;
  endpoint?: string;
  dockerImage?: string;
  dockerUsername?: string;
  route: boolean;
  randomRoute?: true;
  start: boolean;
  wait: boolean;
  task?: true;
  strategy?: string;
  maxInFlight?: number;
  var: string[];
  varsFile: string[];
}

/** Pushes one app, or all of a manifest. */
export async function push(cf: Cf, name: string | undefined, flags: PushFlags): Promise<void> {
  const { terminal, client } = cf;
  const space = requireSpace(cf);
  const manifest = composeManifest(name, flags);
  for (const app of manifest.apps)
    terminal.say(`Pushing app ${terminal.name(app.name)} to ${whereAndWho(cf).slice(3)}...`);
  // What cannot be pushed is told before anything is changed.
  for (const app of manifest.apps) {
    if (dockerOf(app)) checkDocker(app, flags);
    else await checkSource(cf, app.path ?? process.cwd());
  }
  const yaml = manifestYaml(manifest);
  if (manifest.file !== undefined) {
    terminal.say(`Applying manifest file ${manifest.file}...`);
    await showDiff(cf, space.guid, yaml);
  }
  const headers = { 'content-type': 'application/x-yaml' };
  await client.callAndWait(`/v3/spaces/${space.guid}/actions/apply_manifest`, { method: 'POST', body: yaml, headers });
  if (manifest.file !== undefined) terminal.say('Manifest applied');
  for (const wanted of manifest.apps) await pushOne(cf, await findApp(cf, wanted.name), wanted, flags);
}

async function pushOne(cf: Cf, app: App, wanted: ManifestApp, flags: PushFlags): Promise<void> {
  const { terminal, client } = cf;
  const docker = dockerOf(wanted);
  const package_guid = docker
    ? await dockerPackage(cf, app, docker)
    : await uploadPackage(cf, app, wanted.path ?? process.cwd());
  if (!flags.start) {
    if (app.state === 'STARTED') await client.call(`/v3/apps/${app.guid}/actions/stop`, { method: 'POST' });
    return await showAppSummary(cf, await findApp(cf, app.name));
  }
  terminal.say('\nStaging app and tracing logs...');
  const droplet = await stage(cf, app, package_guid);
  if (flags.strategy !== undefined && flags.strategy !== 'null') {
    terminal.say(`\nStarting deployment for app ${terminal.name(app.name)}...\n\nWaiting for app to deploy...\n`);
    const max_in_flight = flags.maxInFlight === undefined ? {} : { max_in_flight: flags.maxInFlight };
    await deploy(cf, app, { droplet, strategy: flags.strategy, no_wait: !flags.wait, ...max_in_flight });
  } else {
    if (flags.task) await client.call(`/v3/apps/${app.guid}/actions/stop`, { method: 'POST' });
    await client.call(`/v3/apps/${app.guid}/relationships/current_droplet`, {
      method: 'PATCH',
      json: { data: { guid: droplet } },
    });
    if (!flags.task) {
      await client.call(`/v3/apps/${app.guid}/actions/restart`, { method: 'POST' });
      terminal.say(`\nWaiting for app ${terminal.name(app.name)} to start...\n`);
      await waitForStart(cf, app, { no_wait: !flags.wait });
    }
  }
  await showAppSummary(cf, await findApp(cf, app.name), { with_command: true });
}

/** The manifest to apply: of the file, narrowed to one app and overruled by flags, or made of the flags alone. */
function composeManifest(name: string | undefined, flags: PushFlags): Manifest {
  const asked = typeof flags.manifest === 'string' ? flags.manifest : undefined;
  const file = flags.manifest === false ? undefined : findManifest(asked, process.cwd());
  const variables = readVariables(flags.var, flags.varsFile);
  const manifest: Manifest = file === undefined ? { file, apps: [], rest: {} } : readManifest(file, variables);
  if (manifest.apps.length === 0) {
    if (name === undefined)
      throw new CommandError(
        'Incorrect Usage: The push command requires an app name. The app name can be supplied as an argument or with a manifest.yml file.',
      );
    manifest.apps = [{ name }];
  } else if (name !== undefined) {
    const [only] = manifest.apps;
    const chosen =
      manifest.apps.find((app) => app.name === name) ??
      (manifest.apps.length === 1 && only ? { ...only, name } : undefined);
    if (!chosen) throw new CommandError(`Could not find app named '${name}' in manifest`);
    manifest.apps = [chosen];
  }
  if (manifest.apps.some((app) => app.name === ''))
    throw new CommandError('Found an application with no name specified');
  const overrides = flagFields(flags);
  if (manifest.apps.length > 1 && Object.keys(overrides).length > 0) {
    throw new CommandError(
      'Incorrect Usage: Command line flags (except -f/--no-start) cannot be applied when pushing multiple apps from a manifest file.',
    );
  }
  manifest.apps = manifest.apps.map((app) => withDefaultRoute(overrule(app, overrides)));
  return manifest;
}

/** The manifest's fields that flags stand for. */
function flagFields(flags: PushFlags): Record<string, unknown> {
  const memory = {
    memory: flags.memory,
    disk_quota: flags.disk,
    'log-rate-limit-per-second': flags.logRateLimit,
    instances: flags.instances,
  };
  const fields: Record<string, unknown> = {
    ...memory,
    buildpacks: flags.buildpack?.filter((name) => name !== 'default' && name !== 'null'),
    command: flags.startCommand,
    stack: flags.stack,
    timeout: flags.appStartTimeout,
    'health-check-type': flags.healthCheckType,
    'health-check-http-endpoint': flags.endpoint,
    docker: dockerOfFlags(flags),
    'no-route': flags.route && !flags.task ? undefined : true,
    'random-route': flags.randomRoute,
    path: flags.path === undefined ? undefined : resolve(flags.path),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Settings of a process may stand at the app or below `processes`; a flag goes where its web process is described. */
function overrule(app: ManifestApp, fields: Record<string, unknown>): ManifestApp {
  const processes = Array.isArray(app['processes']) ? (app['processes'] as Record<string, unknown>[]) : [];
  const web = processes.find((process) => process['type'] === 'web');
  if (!web) return { ...app, ...fields };
  const OF_PROCESS = [
    'memory',
    'disk_quota',
    'log-rate-limit-per-second',
    'instances',
    'command',
    'timeout',
    'health-check-type',
    'health-check-http-endpoint',
  ];
  const entries = Object.entries(fields);
  const own = Object.fromEntries(entries.filter(([key]) => OF_PROCESS.includes(key)));
  const rest = Object.fromEntries(entries.filter(([key]) => !OF_PROCESS.includes(key)));
  return {
    ...app,
    ...rest,
    processes: processes.map((process) => (process === web ? { ...process, ...own } : process)),
  };
}

function withDefaultRoute(app: ManifestApp): ManifestApp {
  return app['no-route'] === true || app['random-route'] === true ? app : { ...app, 'default-route': true };
}
