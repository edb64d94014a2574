import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type OrderReply,
  SERVICE_BINDING_FOLDER,
  type ServiceBindingFiles,
  type StartMessage,
  type VolumeMount,
} from '#contracts/dea.ts';
import type { BindMount } from '#contracts/warden.ts';
import type { z } from 'zod';

type Bind = z.infer<typeof BindMount>;

/** The driver of the volumes that the platform's own broker makes: images on the machine of the DEA. */
const DRIVER = 'ingot-volume';
/** Where apps may have volumes: nowhere that would hide what the platform laid there. */
const CONTAINER_DIR = /^\/(home\/vcap\/data|var\/vcap\/data|mnt|data)(\/[A-Za-z0-9._-]+)*$/;
const MODES = { r: 'ro', rw: 'rw' } as const;

/** The folders and files that an instance's service bindings bring into its container. */
export class ServiceBindings {
  readonly #folder: string;
  readonly #volumes: string | undefined;

  constructor(options: { base_dir: string; volumes_folder?: string | undefined }) {
    this.#folder = join(options.base_dir, 'service-bindings');
    this.#volumes = options.volumes_folder;
  }

  /** Removes what instances left that are no more. */
  async sweep(instances: readonly string[]): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => []))
      if (!instances.includes(name)) await this.release(name);
  }

  /** Why this machine cannot give an instance its volumes; undefined when it can. */
  refusalOf(volume_mounts: readonly VolumeMount[]): OrderReply['error'] {
    for (const { driver, container_dir, device } of volume_mounts) {
      if (driver !== DRIVER) {
        return { code: 'unknown_volume_driver', message: `This cell has no volume driver '${driver}'.` };
      }
      if (!CONTAINER_DIR.test(container_dir) || container_dir.includes('/..')) {
        return { code: 'invalid_volume', message: `A volume cannot be mounted on '${container_dir}'.` };
      }
      if (!existsSync(this.#imageOf(device.volume_id))) {
        return { code: 'unknown_volume', message: `This cell does not have the volume ${device.volume_id}.` };
      }
    }
    return undefined;
  }

  /** Writes an instance's files; gives what is to be bound into its container. */
  async acquire(
    guid: string,
    {
      service_binding_files,
      volume_mounts = [],
    }: Pick<StartMessage, 'service_binding_files'> & Partial<Pick<StartMessage, 'volume_mounts'>>,
  ): Promise<Bind[]> {
    const binds = volume_mounts.map(({ container_dir, mode, device }): Bind => ({
      src_path: this.#imageOf(device.volume_id),
      dst_path: container_dir,
      mode: MODES[mode],
      image: true,
    }));
    if (service_binding_files) {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      binds.push(await writeBindingFiles(join(this.#folder, guid), service_binding_files));
    }
    return binds;
  }

  async release(guid: string): Promise<void> {
    await rm(join(this.#folder, guid), { recursive: true, force: true });
  }

  #imageOf(volume_id: string): string {
    return join(this.#volumes ?? '/nonexistent', `${volume_id.replace(/[^a-z0-9-]/g, '_')}.img`);
  }
}

/** Writes the files of bindings into a folder of the host; gives how it is bound into a container. */
export async function writeBindingFiles(folder: string, { files }: ServiceBindingFiles): Promise<Bind> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path);
    // Names were checked by whoever made them; nothing is ever written outside.
    if (!file.startsWith(`${folder}/`)) continue;
    await mkdir(dirname(file), { recursive: true, mode: 0o755 });
    await writeFile(file, content, { mode: 0o644 });
  }
  return { src_path: folder, dst_path: SERVICE_BINDING_FOLDER, mode: 'ro' };
}
