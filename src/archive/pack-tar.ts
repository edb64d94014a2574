import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '#kernel/errors.ts';

/** The folder cannot be read whole. `cause` has tar's words. */
export class TreeReadFailed extends AppError {
  constructor(folder: string, options?: ErrorOptions) {
    super('tree_read_failed', `could not pack ${folder}`, options);
  }
}

export interface PackTarOptions {
  /** Owner written for every entry; by default each file's own. */
  owner?: { uid: number; gid: number };
  /** Time written for every entry, so that equal trees give equal archives; by default each file's own. */
  mtime?: Date;
}

/** A folder as a tar that is not compressed; otherwise as tarGzStream. */
export function tarStream(folder: string, options: PackTarOptions = {}): Readable {
  return packing(folder, options, []);
}

/**
 * A folder as a tar.gz, its content at the archive's root, sorted, links as links, hard links as files of their own. Done by
 * the system's tar and gzip, which work beside our event loop. Errors on the stream: TreeReadFailed.
 */
export function tarGzStream(folder: string, options: PackTarOptions = {}): Readable {
  return packing(folder, options, ['--use-compress-program=gzip -n -6']);
}

function packing(folder: string, options: PackTarOptions, compression: readonly string[]): Readable {
  const owner = options.owner ? [`--owner=:${options.owner.uid}`, `--group=:${options.owner.gid}`] : [];
  const mtime = options.mtime ? [`--mtime=@${Math.floor(options.mtime.getTime() / 1000)}`] : [];
  const settings = [
    '--numeric-owner',
    '--sort=name',
    '--hard-dereference',
    '--format=posix',
    '--pax-option=delete=atime,delete=ctime',
  ];
  const child = spawn('tar', ['-c', '-f', '-', ...compression, ...settings, ...owner, ...mtime, '-C', folder, '.'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
  });
  const output = new PassThrough();
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < 2000) complaint += text;
  });
  child.once('error', (error) => output.destroy(new TreeReadFailed(folder, { cause: error })));
  child.once('close', (status) => {
    // Only a whole archive may look finished to whoever reads it.
    if (status === 0) output.end();
    else output.destroy(new TreeReadFailed(folder, { cause: new Error(complaint.trim()) }));
  });
  child.stdout.pipe(output, { end: false });
  output.once('close', () => child.kill('SIGKILL'));
  return output;
}

export async function packTarGz(folder: string, path: string, options: PackTarOptions = {}): Promise<void> {
  await pipeline(tarGzStream(folder, options), createWriteStream(path));
}
