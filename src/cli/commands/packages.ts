import { createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { findApp, whereAndWho, type Cf } from '../context.ts';
import { ApiError, CommandError } from '../errors.ts';
import { dockerPackage } from '../push/docker.ts';
import { uploadPackage } from '../push/upload.ts';
import type { Droplet, Package } from '../resources.ts';
import { newestPackage, setDroplet, stage } from '../staging.ts';
import { listDate } from '../terminal.ts';

/** What apps are made of: packages and droplets. */
export function registerPackageCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('packages <APP_NAME>')
    .description('List packages of an app')
    .action(async (app_name: string) => {
      terminal.say(terminal.text`Getting packages of app ${app_name} ` + `${whereAndWho(cf)}...\n`);
      const { guid } = await findApp(cf, app_name);
      const query = { app_guids: guid, order_by: '-created_at', per_page: 5000 };
      showList(cf, (await client.list<Package>('/v3/packages', query)).resources, 'No packages found.');
    });

  program
    .command('create-package <APP_NAME>')
    .description('Uploads a Package')
    .option('-o, --docker-image <image>', 'Image instead of files')
    .option('-p <path>', 'Folder or zip file of the app; the current folder otherwise')
    .action(async (app_name: string, flags: { dockerImage?: string; p?: string }) => {
      if (flags.dockerImage !== undefined && flags.p !== undefined)
        throw new CommandError(
          'Incorrect Usage: The following arguments cannot be used together: --docker-image, -o, -p',
        );
      const app = await findApp(cf, app_name);
      const doing = flags.dockerImage === undefined ? 'Uploading and creating bits' : 'Creating docker';
      terminal.say(`${doing} package for app ${terminal.name(app_name)} ${whereAndWho(cf)}...`);
      const guid =
        flags.dockerImage === undefined
          ? await uploadPackage(cf, app, resolve(flags.p ?? '.'))
          : await dockerPackage(cf, app, { image: flags.dockerImage });
      terminal.say(`Package with guid '${guid}' has been created.`);
      terminal.ok();
    });

  program
    .command('stage-package <APP_NAME>')
    .alias('stage')
    .description('Stage a package into a droplet')
    .option('--package-guid <guid>', 'Package to stage; the newest that is ready otherwise')
    .action(async (app_name: string, flags: { packageGuid?: string }) => {
      terminal.say(terminal.text`Staging package for ${app_name} ` + `${whereAndWho(cf)}...\n`);
      const app = await findApp(cf, app_name);
      const package_guid = flags.packageGuid ?? (await newestPackage(cf, app))?.guid;
      if (package_guid === undefined)
        throw new CommandError(
          `App '${app_name}' has no eligible packages.\n\nTIP: Use 'cf packages ${app_name}' to list packages in your app. Use 'cf create-package' to create one.`,
        );
      const droplet = await client.get<Droplet>(`/v3/droplets/${await stage(cf, app, package_guid)}`);
      terminal.say('\nPackage staged');
      terminal.facts([
        ['droplet guid:', droplet.guid],
        ['state:', droplet.state.toLowerCase()],
        ['created:', listDate(droplet.created_at)],
      ]);
    });

  program
    .command('droplets <APP_NAME>')
    .description('List droplets of an app')
    .action(async (app_name: string) => {
      terminal.say(terminal.text`Getting droplets of app ${app_name} ` + `${whereAndWho(cf)}...\n`);
      const { guid } = await findApp(cf, app_name);
      const query = { order_by: '-created_at', per_page: 5000 };
      const { resources } = await client.list<Droplet>(`/v3/apps/${guid}/droplets`, query);
      const current = await currentDroplet(cf, guid);
      const marked = resources.map((one) => ({ ...one, mark: one.guid === current ? ' (current)' : '' }));
      showList(cf, marked, 'No droplets found');
    });

  program
    .command('set-droplet <APP_NAME> <DROPLET_GUID>')
    .description('Set the droplet used to run an app')
    .action(async (app_name: string, droplet: string) => {
      terminal.say(terminal.text`Setting app ${app_name} to droplet ${droplet} ` + `${whereAndWho(cf)}...`);
      await setDroplet(cf, await findApp(cf, app_name), droplet);
      terminal.ok();
    });

  program
    .command('download-droplet <APP_NAME>')
    .description('Download an application droplet')
    .option('--droplet <guid>', "Droplet to download; the app's current one otherwise")
    .option('-p, --path <path>', 'File or folder to write to; the current folder otherwise')
    .action(async (app_name: string, flags: { droplet?: string; path?: string }) => {
      terminal.say(
        (flags.droplet === undefined
          ? terminal.text`Downloading current droplet for app ${app_name} `
          : terminal.text`Downloading droplet ${flags.droplet} for app ${app_name} `) + `${whereAndWho(cf)}...`,
      );
      const app = await findApp(cf, app_name);
      const guid = flags.droplet ?? (await currentDroplet(cf, app.guid));
      if (guid === undefined) throw new CommandError(`App '${app_name}' does not have a current droplet.`);
      const file = await fileFor(flags.path, `droplet_${guid}.tgz`);
      await pipeline(await client.download(`/v3/droplets/${guid}/download`), createWriteStream(file));
      terminal.say(`Droplet downloaded successfully at ${file}`);
      terminal.ok();
    });
}

async function fileFor(path: string | undefined, name: string): Promise<string> {
  const asked = resolve(path ?? '.');
  const isFolder = (await stat(asked).catch(() => undefined))?.isDirectory() ?? false;
  return isFolder ? join(asked, name) : asked;
}

async function currentDroplet({ client }: Cf, app_guid: string): Promise<string | undefined> {
  try {
    const path = `/v3/apps/${app_guid}/relationships/current_droplet`;
    return (await client.get<{ data: { guid: string } | null }>(path)).data?.guid;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}

type Listed = Pick<Package, 'guid' | 'state' | 'created_at'> & { mark?: string };

function showList({ terminal }: Cf, items: readonly Listed[], none: string): void {
  if (items.length === 0) return terminal.say(none);
  const rows = items.map(({ guid, state, created_at, mark = '' }) => [
    guid + mark,
    state.toLowerCase(),
    listDate(created_at),
  ]);
  terminal.table([['guid', 'state', 'created'], ...rows]);
}
