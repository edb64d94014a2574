import { createWriteStream, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { requireUser, type Cf } from '../context.ts';
import { CommandError, notFoundError } from '../errors.ts';
import { listFiles, zipFiles } from '../push/files.ts';
import { sendFile } from '../push/upload.ts';
import { wholeNumber } from '../quantities.ts';
import type { Named } from '../resources.ts';

interface BuildpackFlags {
  assignStack?: string;
  disable?: true;
  enable?: true;
  lock?: true;
  unlock?: true;
  path?: string;
  position?: string;
  rename?: string;
  stack?: string;
  lifecycle?: string;
}

export function registerBuildpackCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('create-buildpack <BUILDPACK> <PATH> <POSITION>')
    .description('Create a buildpack')
    .option('--disable', 'Keep it out of staging')
    .option('-l, --lifecycle <lifecycle>', 'buildpack or cnb')
    .action(async (...[name, path, at, flags]: [string, string, string, BuildpackFlags]) => {
      const position = wholeNumber(at, 'POSITION');
      terminal.say(terminal.text`Creating buildpack ${name} as ${requireUser(cf)}...`);
      const { body } = await client.call<Named>('/v3/buildpacks', {
        method: 'POST',
        json: {
          name,
          position,
          enabled: !flags.disable,
          ...(flags.lifecycle !== undefined && { lifecycle: flags.lifecycle }),
        },
      });
      terminal.ok();
      await upload(cf, body, path);
    });

  program
    .command('update-buildpack <BUILDPACK>')
    .description('Update a buildpack')
    .option('--assign-stack <stack>', 'Stack for a buildpack that has none')
    .option('--disable', 'Keep it out of staging')
    .option('--enable', 'Use it for staging')
    .option('--lock', 'Let nobody upload to it')
    .option('-p, --path <path>', 'Folder, zip file or URL of its new content')
    .option('-i, --position <n>', 'Place in the order in which buildpacks are tried')
    .option('--rename <name>', 'New name')
    .option('-s, --stack <stack>', 'Stack of the buildpack, where its name is not enough')
    .option('-l, --lifecycle <lifecycle>', 'Lifecycle of the buildpack, where its name is not enough')
    .option('--unlock', 'Let it be uploaded to again')
    .action(async (name: string, flags: BuildpackFlags) => await update(cf, name, flags));

  program
    .command('delete-buildpack <BUILDPACK>')
    .description('Delete a buildpack')
    .option('-f, --force', 'Do not ask first')
    .option('-s, --stack <stack>', 'Stack of the buildpack, where its name is not enough')
    .option('-l, --lifecycle <lifecycle>', 'Lifecycle of the buildpack, where its name is not enough')
    .action(async (name: string, flags: BuildpackFlags & { force?: true }) => {
      requireUser(cf);
      if (!(await terminal.confirm(`Really delete the buildpack ${name}?`, flags.force)))
        return terminal.say('Delete cancelled');
      const of = withPlace(cf, flags);
      terminal.say(`Deleting buildpack ${terminal.name(name)}${of}...`);
      const found = await find(cf, name, flags);
      if (found) await client.callAndWait(`/v3/buildpacks/${found.guid}`, { method: 'DELETE' });
      else terminal.warn(`Buildpack '${name}'${of} does not exist.`);
      terminal.ok();
    });
}

function withPlace({ terminal }: Cf, { stack, lifecycle }: BuildpackFlags): string {
  return (
    (stack === undefined ? '' : terminal.text` with stack ${stack}`) +
    (lifecycle === undefined ? '' : terminal.text` with lifecycle ${lifecycle}`)
  );
}

async function find({ client }: Cf, name: string, flags: BuildpackFlags): Promise<Named | undefined> {
  const query = { names: name, stacks: flags.stack, lifecycle: flags.lifecycle };
  const [found, another] = (await client.list<Named>('/v3/buildpacks', query)).resources;
  if (another)
    throw new CommandError(`Multiple buildpacks named ${name} found. Specify a stack name by using a '-s' flag.`);
  return found;
}

async function update(cf: Cf, name: string, flags: BuildpackFlags): Promise<void> {
  const { terminal, client } = cf;
  const user = requireUser(cf);
  for (const [one, other] of [
    ['enable', 'disable'],
    ['lock', 'unlock'],
    ['path', 'lock'],
    ['stack', 'assignStack'],
  ] as const) {
    if (flags[one] !== undefined && flags[other] !== undefined)
      throw new CommandError(
        `Incorrect Usage: The following arguments cannot be used together: --${one}, --${other.replace('assignStack', 'assign-stack')}`,
      );
  }
  if (flags.rename !== undefined)
    terminal.say(terminal.text`Renaming buildpack ${name} to ${flags.rename} as ${user}...\n`);
  if (flags.assignStack !== undefined)
    terminal.say(terminal.text`Assigning stack ${flags.assignStack} to ${name} as ${user}...\n`);
  if (flags.rename === undefined && flags.assignStack === undefined)
    terminal.say(terminal.text`Updating buildpack ${name}` + withPlace(cf, flags) + terminal.text` as ${user}...`);
  const found = await find(cf, name, flags);
  if (!found) throw notFoundError('Buildpack', name);
  const json = {
    ...(flags.rename !== undefined && { name: flags.rename }),
    ...(flags.position !== undefined && { position: wholeNumber(flags.position, '--position') }),
    ...((flags.enable ?? flags.disable) && { enabled: flags.enable === true }),
    ...((flags.lock ?? flags.unlock) && { locked: flags.lock === true }),
    ...(flags.assignStack !== undefined && { stack: flags.assignStack }),
  };
  await client.call(`/v3/buildpacks/${found.guid}`, { method: 'PATCH', json });
  terminal.ok();
  if (flags.path !== undefined) await upload(cf, { ...found, name: flags.rename ?? name }, flags.path);
}

/** Uploads a zip, a folder or what is at a URL, and waits until it is taken in. */
async function upload(cf: Cf, { guid, name }: Named, path: string): Promise<void> {
  const { terminal, client } = cf;
  const temporary = await mkdtemp(join(tmpdir(), 'cf-buildpack-'));
  try {
    const file = await zipOf(path, temporary);
    terminal.say(terminal.text`Uploading buildpack ${name} as ${requireUser(cf)}...`);
    const { headers } = await sendFile(cf, `/v3/buildpacks/${guid}/upload`, { path: file, name: basename(file) });
    terminal.ok();
    terminal.say(terminal.text`Processing uploaded buildpack ${name}...`);
    const job = headers['location'];
    if (typeof job === 'string') await client.waitForJob(job);
    terminal.ok();
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function zipOf(path: string, temporary: string): Promise<string> {
  if (/^https?:\/\//.test(path)) {
    const answer = await fetch(path);
    if (!answer.ok || answer.body === null) throw new CommandError(`${path} answered ${answer.status}.`);
    const file = join(temporary, basename(new URL(path).pathname) || 'buildpack.zip');
    await pipeline(Readable.fromWeb(answer.body), createWriteStream(file));
    return file;
  }
  const given = resolve(path);
  const found = statSync(given, { throwIfNoEntry: false });
  if (!found) throw new CommandError(`The specified path '${path}' does not exist.`);
  if (!found.isDirectory()) return given;
  const file = join(temporary, `${basename(given)}.zip`);
  await zipFiles(await listFiles(given), new Set(), file);
  return file;
}
