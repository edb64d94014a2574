import { writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { findApp, findOrg, findSpace, requireSpace, unlessDone, whereAndWho, type Cf } from '../context.ts';
import { ApiError, CommandError } from '../errors.ts';
import { showDiff } from '../push/diff.ts';
import { findManifest, manifestYaml, readManifest, readVariables } from '../push/manifest.ts';

import type { App, Package } from '../resources.ts';
import { newestPackage } from '../staging.ts';
import { textOf } from '../terminal.ts';
import { collect } from './flags.ts';
import { restart, stageAndTrace, withRestartFlags, type RestartFlags } from './restart.ts';

/** Apps as such: made, renamed, copied, described by manifests. */
export function registerAppSettingCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('create-app <APP_NAME>')
    .description('Create an Application in the target space')
    .option('--app-type <type>', 'Lifecycle of the app: buildpack, docker or cnb', 'buildpack')
    .option('-b, --buildpack <buildpack>', 'Buildpack by name or Git URL; several are used in order', collect)
    .action(async (name: string, flags: { appType: string; buildpack?: string[] }) => {
      const { guid } = requireSpace(cf);
      if (!['buildpack', 'docker', 'cnb'].includes(flags.appType))
        throw new CommandError("Incorrect Usage: Invalid value for '--app-type' (buildpack, docker or cnb)");
      terminal.say(terminal.text`Creating app ${name} ` + `${whereAndWho(cf)}...`);
      terminal.say(`Using app type "${flags.appType}"`);
      const lifecycle = {
        type: flags.appType,
        data: flags.appType === 'docker' ? {} : { buildpacks: flags.buildpack ?? [] },
      };
      const isAsDefault = flags.appType === 'buildpack' && flags.buildpack === undefined;
      const json = { name, relationships: { space: { data: { guid } } }, ...(!isAsDefault && { lifecycle }) };
      await unlessDone(
        cf,
        { when: /must be unique|already exists/, say: `App with the name '${name}' already exists.` },
        async () => await client.call('/v3/apps', { method: 'POST', json }),
      );
      terminal.ok();
    });

  program
    .command('rename <APP_NAME> <NEW_APP_NAME>')
    .description('Rename an app')
    .action(async (name: string, new_name: string) => {
      const heading = terminal.text`Renaming app ${name} to ${new_name} ` + `${whereAndWho(cf)}...`;
      terminal.say(heading);
      const app = await findApp(cf, name);
      await client.call(`/v3/apps/${app.guid}`, { method: 'PATCH', json: { name: new_name } });
      terminal.ok();
    });

  program
    .command('restart-app-instance <APP_NAME> <INDEX>')
    .description('Stop, then start application instance without updating application environment')
    .option('--process <type>', 'Process of the instance', 'web')
    .action(async (name: string, index: string, flags: { process: string }) => {
      terminal.say(
        terminal.text`Restarting instance ${index} of process ${flags.process} of app ${name} ` +
          `${whereAndWho(cf)}...`,
      );
      const app = await findApp(cf, name);
      await client
        .call(`/v3/apps/${app.guid}/processes/${flags.process}/instances/${index}`, { method: 'DELETE' })
        .catch((error: unknown) => {
          if (!(error instanceof ApiError && error.status === 404)) throw error;
          throw new CommandError(`Instance ${index} of process ${flags.process} not found`, { cause: error });
        });
      terminal.ok();
    });

  withRestartFlags(
    program
      .command('copy-source <SOURCE_APP> <DESTINATION_APP>')
      .description(
        'Copies the source code of an application to another existing application and restages that application',
      )
      .option('-s, --space <space>', 'Space of the destination')
      .option('-o, --organization <org>', 'Org of the destination')
      .option('--no-restart', 'Leave the destination as it runs'),
  ).action(async (source: string, target: string, flags: CopyFlags) => await copySource(cf, [source, target], flags));

  program
    .command('create-app-manifest <APP_NAME>')
    .description('Create an app manifest for an app that has been pushed successfully')
    .option('-p <path>', 'Where to write the manifest; the current folder otherwise')
    .action(async (name: string, flags: { p?: string }) => {
      terminal.say(
        terminal.text`Creating an app manifest from current settings of app ${name} ` + `${whereAndWho(cf)}...`,
      );
      const app = await findApp(cf, name);
      const { text } = await client.call(`/v3/apps/${app.guid}/manifest`, {
        headers: { accept: 'application/x-yaml' },
      });
      const file = flags.p === undefined ? join(process.cwd(), `${name}_manifest.yml`) : resolve(flags.p);
      await writeFile(file, text).catch((error: unknown) => {
        throw new CommandError(`Error creating file: ${error instanceof Error ? error.message : textOf(error)}`);
      });
      terminal.say(`Manifest file created successfully at ${file}`);
      terminal.ok();
    });

  program
    .command('apply-manifest')
    .description('Apply manifest properties to a space')
    .option('-f <path>', 'Manifest; manifest.yml of the current folder otherwise')
    .option('--var <pair>', 'Variable for the manifest, NAME=VALUE', collect, [])
    .option('--vars-file <path>', 'File of variables for the manifest', collect, [])
    .option('--redact-env', 'Show no values of environment variables')
    .action(async (flags: { f?: string; var: string[]; varsFile: string[]; redactEnv?: true }) => {
      const space = requireSpace(cf);
      const file = findManifest(flags.f, process.cwd());
      if (file === undefined) throw new CommandError(`Could not find 'manifest.yml' file in ${process.cwd()}`);
      terminal.say(terminal.text`Applying manifest ${file} ` + `${whereAndWho(cf)}...`);
      // A manifest without variables goes as it was written.
      const variables = readVariables(flags.var, flags.varsFile);
      const manifest = readManifest(file, variables);
      const body = variables.size === 0 ? readFileSync(file, 'utf8') : manifestYaml(manifest);
      await showDiff(cf, space.guid, body, flags.redactEnv);
      await client.callAndWait(`/v3/spaces/${space.guid}/actions/apply_manifest`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/x-yaml' },
      });
      terminal.say();
      terminal.ok();
    });
}

interface CopyFlags extends RestartFlags {
  space?: string;
  organization?: string;
  restart: boolean;
}

async function copySource(cf: Cf, [from, to]: readonly [string, string], flags: CopyFlags): Promise<void> {
  const { terminal, client } = cf;
  const here = requireSpace(cf);
  if (flags.organization !== undefined && flags.space === undefined)
    throw new CommandError("Incorrect Usage: '--organization, -o' and '--space, -s' must be used together.");
  const org_name = flags.organization ?? here.org;
  const space_name = flags.space ?? here.name;
  terminal.say(
    terminal.text`Copying source from app ${from} to target app ${to} in org ${org_name} / space ${space_name} as ${cf.session.userName}...`,
  );
  terminal.say();
  const source = await findApp(cf, from);
  const org = flags.organization === undefined ? undefined : await findOrg(cf, flags.organization);
  const space = flags.space === undefined ? here : await findSpace(cf, flags.space, org?.guid);
  const target = await findApp(cf, to, space.guid);
  const newest = await newestPackage(cf, source);
  if (!newest) throw new CommandError(`App '${from}' has no eligible packages.`);
  const copied = await copyPackage(cf, newest, target);
  if (flags.restart) {
    terminal.say(
      terminal.text`Staging app ${to} in org ${org_name} / space ${space_name} as ${cf.session.userName}...`,
    );
    terminal.say();
    const droplet = await stageAndTrace(cf, target, copied.guid);
    await restart(cf, target, { ...flags, droplet });
    return;
  }
  await client.get(`/v3/packages/${copied.guid}`);
  terminal.ok();
}

/** Waits until the copy is whole. */
async function copyPackage({ client }: Cf, source: Package, target: App): Promise<Package> {
  const { body } = await client.call<Package>('/v3/packages', {
    method: 'POST',
    query: { source_guid: source.guid },
    json: { relationships: { app: { data: { guid: target.guid } } } },
  });
  return await client.until<Package>(`/v3/packages/${body.guid}`, (now) => {
    if (now.state === 'FAILED' || now.state === 'EXPIRED')
      throw new CommandError(`The package could not be copied: ${now.data.error ?? now.state}`);
    return now.state === 'READY';
  });
}
