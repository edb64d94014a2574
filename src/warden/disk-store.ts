import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { mount } from './syscalls.ts';

const execute = promisify(execFile);

/** Where the writable layers of containers stand, each with a limit that its neighbours do not feel. */
export interface DiskStore {
  /** for the log and for people: how limits are held */
  readonly kind: 'btrfs' | 'loop';
  /** Makes an empty folder limited to `bytes` and gives its path. */
  create(name: string, bytes: number): Promise<string>;
  setLimit(name: string, bytes: number): Promise<void>;
  bytesUsed(name: string): number;
  /** What is not there is no error. */
  remove(name: string): Promise<void>;
  list(): string[];
}

/** Mounts an image; its loop device lives for as long as it is mounted. */
export async function mountImage(image: string, options: Omit<Parameters<typeof mount>[0], 'source'>): Promise<void> {
  // A daemon that was killed between these steps left a device behind.
  await releaseDevices(image);
  const { stdout } = await execute('losetup', ['--find', '--show', '--direct-io=on', image]);
  const source = stdout.trim();
  try {
    mount({ ...options, source });
  } finally {
    await execute('losetup', ['--detach', source]);
  }
}

/** One that is mounted still goes when it is unmounted. */
async function releaseDevices(image: string): Promise<void> {
  const { stdout } = await execute('losetup', ['--noheadings', '--output', 'NAME', '--associated', image]);
  for (const device of stdout.split('\n').filter(Boolean)) await execute('losetup', ['--detach', device.trim()]);
}
