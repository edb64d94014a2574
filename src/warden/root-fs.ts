import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod';
import type { BindMount } from '#contracts/warden.ts';
import type { IdRange } from './id-mapping.ts';
import type { OciMount } from './oci-spec.ts';
import { mount, mountIdMapped, MS_BIND, MS_NODEV, MS_NOSUID, MS_RDONLY, SystemCallError, unmount } from './syscalls.ts';

/**
 * A container's folder on the tmpfs: `rootfs` is the overlay of stack, layers and the writable layer, `binds/N` what is bound into
 * it, `bundle` what crun reads.
 */
export interface RootFsOptions {
  folder: string;
  /** read-only folders, lowest first */
  layers: readonly string[];
  bind_mounts: readonly z.infer<typeof BindMount>[];
  /** folder of the quota store for what the container writes */
  writable: string;
  ids: IdRange;
  /** path of the user namespace with those ids */
  userns: string;
  /** small files laid into the writable layer, by path */
  files: Readonly<Record<string, string>>;
}

/** Mounts it all; gives the mounts for crun. Errors: SystemCallError, with everything left for `unmountRootFs`. */
export function mountRootFs(options: RootFsOptions): OciMount[] {
  const { folder, layers, bind_mounts, writable, ids, userns, files } = options;
  const root = join(folder, 'rootfs');
  const [upper, work] = [join(writable, 'upper'), join(writable, 'work')];
  for (const path of [root, join(folder, 'bundle')]) mkdirSync(path, { recursive: true });
  for (const path of [upper, work]) mkdirSync(path, { mode: 0o755 });
  writeFiles(upper, files);
  const owned = [upper, join(upper, 'etc'), work, ...Object.keys(files).map((path) => join(upper, path))];
  for (const path of owned) chownSync(path, ids.start, ids.start);
  const lower = layers.map((layer, index) => {
    const target = join(folder, 'lower', String(index));
    mkdirSync(target, { recursive: true });
    mountIdMapped({ source: layer, target, userns, isReadOnly: true });
    return String(index);
  });
  // An image has up to 128 layers, and the kernel takes a page of options: paths from there are short.
  const before = process.cwd();
  process.chdir(join(folder, 'lower'));
  // redirect_dir: without it an app could not rename a folder of its droplet (EXDEV).
  const data = `lowerdir=${lower.toReversed().join(':')},upperdir=${upper},workdir=${work},redirect_dir=on`;
  try {
    mount({ source: 'overlay', target: root, type: 'overlay', flags: MS_NODEV, data });
  } finally {
    process.chdir(before);
  }
  // The overlay holds its layers by mounts of its own.
  for (const index of lower) unmount(join(folder, 'lower', index));
  return bind_mounts.map((bind, index) => bindMount(join(folder, 'binds', String(index)), bind, userns));
}

/** Takes all of a container's mounts down and removes its folder; parts that are not there are no error. */
export function unmountRootFs(folder: string): void {
  if (!existsSync(folder)) return;
  unmount(join(folder, 'rootfs'));
  for (const kind of ['lower', 'binds']) {
    const parent = join(folder, kind);
    for (const entry of existsSync(parent) ? readdirSync(parent) : []) unmount(join(parent, entry));
  }
  rmSync(folder, { recursive: true, force: true });
}

/**
 * Owners on disk are the container's owners: uid 2000 is vcap. On file systems that can't be mounted so, they are what they are,
 * nobody's in the container.
 */
function bindMount(target: string, bind: z.infer<typeof BindMount>, userns: string): OciMount {
  mkdirSync(join(target, '..'), { recursive: true });
  if (statSync(bind.src_path).isDirectory()) mkdirSync(target);
  else closeSync(openSync(target, 'w'));
  const isReadOnly = bind.mode === 'ro';
  try {
    mountIdMapped({ source: bind.src_path, target, userns, isReadOnly });
  } catch (error) {
    if (!(error instanceof SystemCallError) || error.code !== 'EINVAL') throw error;
    mount({ source: bind.src_path, target, flags: MS_BIND });
    if (isReadOnly) mount({ source: 'none', target, flags: MS_REMOUNT_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV });
  }
  return { destination: bind.dst_path, source: target, options: ['bind', bind.mode, 'nosuid', 'nodev'] };
}

const MS_REMOUNT_BIND = 32 | MS_BIND;

function writeFiles(upper: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(upper, 'etc'), { mode: 0o755 });
  for (const [path, text] of Object.entries(files)) writeFileSync(join(upper, path), text, { mode: 0o644 });
}
