import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { AppError } from '#kernel/errors.ts';
import type { VolumeConfig } from '../config.ts';
import { type Credentials, idOf } from '../credentials.ts';
import { OsbError } from '../osb/errors.ts';
import { OneAtATime } from '../osb/one-at-a-time.ts';
import type { Access, Binding, Change, Instance, JsonObject, Plan, Service, ServiceEntry } from '../service.ts';
import { shortOf } from '../short-name.ts';

const execute = promisify(execFile);

const None = z.strictObject({});
const BindOptions = z.strictObject({
  mount: z
    .string()
    .regex(/^\/(home\/vcap\/data|var\/vcap\/data|mnt|data)(\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/, {
      message: 'must be below /mnt, /data, /home/vcap/data or /var/vcap/data',
    })
    .optional()
    .describe('where the container has it; /home/vcap/data/GUID unless said'),
  readonly: z.boolean().optional(),
});

const MB = 1024 * 1024;
/** The uid and gid of vcap in every container. */
const VCAP = 2000;

export interface VolumeServiceOptions {
  config: VolumeConfig;
  credentials: Credentials;
  /** Where DEAs of this machine look for images, too. */
  folder: string;
}

/**
 * A folder that outlives containers, on this machine: an ext4 image of the plan's size, which warden mounts into whichever of its
 * containers are bound to it. Instances elsewhere do not have it: placement goes to the DEAs that do.
 */
export class Volume implements Service {
  readonly entry: ServiceEntry = {
    id: idOf('volume'),
    name: 'volume',
    description: 'A folder that stays, shared by all instances of the apps that are bound to it',
    tags: ['volume', 'filesystem'],
    requires: ['volume_mount'],
    bindable: true,
    plan_updateable: false,
    instances_retrievable: true,
    bindings_retrievable: true,
    metadata: { displayName: 'Volume', shareable: true },
  };
  readonly plans: readonly Plan[];
  readonly parameters = { provision: None, update: None, bind: BindOptions };
  readonly #options: VolumeServiceOptions;
  readonly #turns = new OneAtATime();

  constructor(options: VolumeServiceOptions) {
    this.#options = options;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    const parameters = z.toJSONSchema(BindOptions);
    this.plans = options.config.plans.map(({ name, description, size_mb }) => ({
      id: idOf(`volume/${name}`),
      name,
      description,
      free: true,
      metadata: { bullets: [`${size_mb} MB`, 'on one machine'] },
      schemas: { service_binding: { create: { parameters } } },
    }));
  }

  resume(): Promise<void> {
    return Promise.resolve();
  }

  isHealthy(): boolean {
    return true;
  }

  async provision(instance: Instance): Promise<JsonObject> {
    await this.#turns.run('', async () => await this.#make(instance));
    return {};
  }

  update({ instance }: Change): Promise<JsonObject> {
    return Promise.resolve(instance.details);
  }

  /** A container that still has it keeps what it has until it ends. */
  deprovision({ guid }: Instance): Promise<void> {
    rmSync(this.#imageOf(guid), { force: true });
    return Promise.resolve();
  }

  bind(instance: Instance, binding: Binding): Promise<Access> {
    return Promise.resolve(this.access(instance, binding));
  }

  access({ guid }: Instance, binding: Binding): Access {
    const { mount, readonly: isReadOnly } = BindOptions.parse(binding.parameters);
    const volume_id = this.#volumeOf(guid);
    const container_dir = mount ?? `/home/vcap/data/${shortOf(guid)}`;
    const mode = isReadOnly === true ? 'r' : 'rw';
    return {
      credentials: { path: container_dir },
      volume_mounts: [
        { driver: 'ingot-volume', container_dir, mode, device_type: 'shared', device: { volume_id, mount_config: {} } },
      ],
    };
  }

  async unbind(): Promise<void> {}

  describe(instance: Instance): Promise<JsonObject> {
    const { blocks } = statSync(this.#imageOf(instance.guid));
    return Promise.resolve({ size_mb: this.#sizeOf(instance), size_mb_on_disk: Math.ceil((blocks * 512) / MB) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turns.settled();
  }

  async #make(instance: Instance): Promise<void> {
    const image = this.#imageOf(instance.guid);
    const size_mb = this.#sizeOf(instance);
    const images = readdirSync(this.#options.folder).filter((name) => name.endsWith('.img'));
    const given_mb = images.reduce((sum, name) => sum + statSync(join(this.#options.folder, name)).size / MB, 0);
    if (images.includes(`${this.#volumeOf(instance.guid)}.img`)) return;
    if (given_mb + size_mb > this.#options.config.disk_mb)
      throw new OsbError(503, `there is no room for ${size_mb} MB more: delete volumes, or ask the operator`);
    writeFileSync(`${image}.new`, '', { mode: 0o600 });
    truncateSync(`${image}.new`, size_mb * MB);
    const extended = `root_owner=${VCAP}:${VCAP},lazy_itable_init=1,lazy_journal_init=1,nodiscard`;
    await execute('mkfs.ext4', ['-q', '-F', '-m', '0', '-E', extended, `${image}.new`]);
    renameSync(`${image}.new`, image);
  }

  #sizeOf({ plan }: Instance): number {
    const found = this.#options.config.plans.find(({ name }) => name === plan.name);
    if (!found) throw new AppError('plan_unknown', `there is no plan ${plan.name}`);
    return found.size_mb;
  }

  /**
   * Not made of the guid alone: whoever knows that could have a broker of their own answer with it, and a DEA mounts what a binding
   * names.
   */
  #volumeOf(guid: string): string {
    return shortOf(this.#options.credentials.passwordFor(`volume ${guid}`));
  }

  #imageOf(guid: string): string {
    return join(this.#options.folder, `${this.#volumeOf(guid)}.img`);
  }
}
