import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import type { ContainerList, CreateRequest, WardenFacts } from '#contracts/warden.ts';
import { WardenError } from '#http/warden-client.ts';
import type { ComponentContext } from '#kernel/component.ts';
import type { Backend } from '../backend.ts';
import type { WardenConfig } from '../config.ts';
import { HostPorts } from '../slots.ts';
import { placeOf } from './places.ts';
import { cannot, LOOPBACK, ProcessContainer } from './process-container.ts';
import { isGroupAlive, signalGroup, startOf } from './processes.ts';

const run = promisify(execFile);

/** Files of droplets belong to this user, whom a warden that is root becomes for their processes. */
const VCAP = { uid: 2000, gid: 2000 };
const MAX_PORT_TRIES = 100;

/** What a daemon that was killed leaves to the next: the groups that it has to end. */
const Left = z.array(z.object({ pid: z.number().int().positive(), started: z.string() }));

type Request = z.output<typeof CreateRequest>;

/**
 * Containers that contain nothing: a folder each, and plain processes of this machine, which run on its own programs and reach all that
 * their user reaches. For development where there is no Linux or no root. What mentions /home/vcap or /tmp, in arguments, variables
 * and paths, is led to the container's folder; what stands in files is not. All ends with the daemon; the next ends what
 * one that was killed has left.
 */
export class ProcessBackend implements Backend, AsyncDisposable {
  readonly #config: WardenConfig;
  readonly #folder: string;
  readonly #ports: HostPorts;
  readonly #containers = new Map<string, ProcessContainer>();

  private constructor(config: WardenConfig, folder: string) {
    this.#config = config;
    this.#folder = folder;
    this.#ports = new HostPorts(config.host_port_pool);
  }

  static async open(config: WardenConfig, { log }: ComponentContext): Promise<ProcessBackend> {
    log.warn(
      { backend: 'process' },
      'NO ISOLATION: apps run as plain processes of this machine and reach all that their user reaches; for development only',
    );
    const backend = new ProcessBackend(config, join(config.depot, 'processes'));
    await mkdir(backend.#folder, { recursive: true, mode: 0o711 });
    for (const handle of await readdir(backend.#folder)) {
      await endLeftovers(join(backend.#folder, handle, 'processes.json'));
      await rm(join(backend.#folder, handle), { recursive: true, force: true });
      log.warn({ handle }, 'container of an earlier daemon ended');
    }
    return backend;
  }

  facts(): WardenFacts {
    return { network: `${LOOPBACK}/32` };
  }

  list(): ContainerList['containers'] {
    return [...this.#containers.values()].map(({ handle, properties }) => ({ handle, properties }));
  }

  /** Each reaches all others as it is; there is nobody to ask for names. */
  setNetwork(): void {}

  convertLayer(): Promise<void> {
    return Promise.reject(cannot('runs no images'));
  }

  find(handle: string): ProcessContainer {
    const container = this.#containers.get(handle);
    if (!container) throw new WardenError('container_not_found', `no container has the handle ${handle}`);
    return container;
  }

  async create(request: Request): Promise<ProcessContainer> {
    const handle = request.handle ?? randomBytes(8).toString('hex');
    if (this.#containers.has(handle)) throw new WardenError('handle_taken', `there is a container ${handle} already`);
    this.#check(request);
    const folder = join(this.#folder, handle);
    const root = join(folder, 'root');
    const container = new ProcessContainer({
      handle,
      root,
      user: process.getuid?.() === 0 ? VCAP : undefined,
      limits: request.limits,
      properties: request.properties,
      ports: [],
      log_keep_bytes: this.#config.job_log_keep_mb * 1024 * 1024,
      takePort: async (wanted) => await this.#takePort(wanted),
      changed: async (pids) => await noteLeft(join(folder, 'processes.json'), pids),
    });
    this.#containers.set(handle, container);
    try {
      await container.prepare();
      await fill(root, request);
      for (const { host_port } of request.net_in) await container.netIn({ host_port });
      return container;
    } catch (error) {
      await this.destroy(handle);
      if (error instanceof WardenError) throw error;
      throw new WardenError('create_failed', `container ${handle} could not be made`, { cause: error });
    }
  }

  async destroy(handle: string): Promise<void> {
    const container = this.find(handle);
    await container.stop({ grace_s: 0, kill: true });
    await rm(join(this.#folder, handle), { recursive: true, force: true, maxRetries: 3 });
    for (const { host_port } of container.ports) this.#ports.release(host_port);
    this.#containers.delete(handle);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#containers.keys()].map(async (handle) => await this.destroy(handle)));
  }

  /** Errors: WardenError, before anything is made. */
  #check({ stack, layers, bind_mounts }: Request): void {
    if (stack === undefined) throw cannot('runs no images');
    if (this.#config.stacks[stack] === undefined) throw new WardenError('path_not_found', `there is no stack ${stack}`);
    if (bind_mounts.some(({ image }) => image))
      throw new WardenError('invalid_request', 'plain processes have no volumes: use the backend crun');
    for (const path of [...layers, ...bind_mounts.map((bind) => bind.src_path)])
      if (!existsSync(path)) throw new WardenError('path_not_found', `there is no ${path}`);
  }

  /** Errors: WardenError resources_exhausted. */
  async #takePort(wanted: number | undefined): Promise<number> {
    for (let tries = 0; tries < MAX_PORT_TRIES; tries++) {
      const port = this.#ports.acquire(wanted);
      // The machine's own programs take ports as well.
      if (await isFree(port)) return port;
      if (wanted !== undefined) break;
    }
    throw new WardenError('resources_exhausted', 'no port is free on this machine');
  }
}

/** Copies, so that none writes into what another has: there is no overlay to lay. */
async function fill(root: string, { layers, bind_mounts }: Request): Promise<void> {
  for (const layer of layers) await run('cp', ['-R', '-p', `${layer}/.`, root]);
  for (const { src_path, dst_path, mode } of bind_mounts) {
    const place = placeOf(root, dst_path);
    if (place === dst_path) throw cannot(`mounts nothing at ${dst_path}, which is the machine's own`);
    await mkdir(dirname(place), { recursive: true });
    // For root: what is only read may lie where the container's user cannot go.
    if (mode === 'ro' && process.getuid?.() === 0) await run('cp', ['-R', '-p', src_path, place]);
    else await symlink(src_path, place);
  }
  if (process.getuid?.() === 0) await run('chown', ['-R', '-h', `${VCAP.uid}:${VCAP.gid}`, root]);
}

async function noteLeft(path: string, pids: readonly number[]): Promise<void> {
  const left: z.infer<typeof Left> = [];
  for (const pid of pids) {
    const started = await startOf(pid);
    if (started !== undefined) left.push({ pid, started });
  }
  await writeFile(`${path}.new`, JSON.stringify(left));
  await rename(`${path}.new`, path);
}

async function endLeftovers(path: string): Promise<void> {
  const text = await readFile(path, 'utf8').catch(() => '[]');
  for (const { pid, started } of Left.parse(JSON.parse(text))) {
    if (isGroupAlive(pid) && (await startOf(pid)) === started) signalGroup(pid, 'SIGKILL');
  }
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, () => probe.close(() => resolve(true)));
  });
}
