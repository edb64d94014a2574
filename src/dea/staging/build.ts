import { createHash } from 'node:crypto';
import { createWriteStream, openAsBlob } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { tarStream } from '#archive/pack-tar.ts';
import { readTar, readTarFiles } from '#archive/read-tar.ts';
import { DigestStream } from '#archive/digest.ts';
import { unpackCache } from './unpack-cache.ts';
import { unpackZip } from '#archive/unpack-zip.ts';
import type { StagingBuildpack, StagingMessage } from '#contracts/staging.ts';
import type { CreateRequest } from '#contracts/warden.ts';
import type { Clock } from '#kernel/clock.ts';
import { AppError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { retry } from '#kernel/retry.ts';
import type { WardenClient } from '#http/warden-client.ts';
import type { DeaConfig } from '../config.ts';
import { destroyContainer } from '../destroy-container.ts';
import { download, DownloadFailed } from '../download.ts';
import type { DropletCache } from '../droplet-cache.ts';
import { stagingEnvironment } from '../environment.ts';
import { awaitEnd, followOutput } from '../job-output.ts';
import { writeBindingFiles } from '../service-bindings.ts';
import { upload } from '../upload.ts';
import { byteSize } from './byte-size.ts';
import type { BuildpackCache } from './buildpack-cache.ts';
import { readBuildResult, stagingInfo, type BuildResult } from './build-result.ts';
import { Phases } from './phases.ts';
import { failureOfExit, StagingFailed } from './staging-error.ts';

export interface BuildDependencies {
  dea: string;
  /** Host folder for what this build downloads; removed at its end. */
  work_dir: string;
  config: DeaConfig;
  warden: WardenClient;
  buildpacks: BuildpackCache;
  droplets: Pick<DropletCache, 'keep'>;
  clock: Clock;
  log: Log;
  /** A line of the build's log, as the user reads it. */
  say: (text: string | Buffer, type?: 'OUT' | 'ERR', timestamp_ns?: string) => void;
}

export interface StagedDroplet extends BuildResult {
  execution_metadata: string;
  sha256: string;
  size: number;
}

type Message = StagingMessage;

const LIFECYCLE = join(import.meta.dirname, '../lifecycle');
const RUNNER = '/tmp/lifecycle/stage.sh';
const MAX_RESULT_BYTES = 4 * 1024 * 1024;

export const stagingHandle = (task_id: string): string => `staging-${task_id}`;

/** One build: from a package to an uploaded droplet, in a container of its own that is gone afterwards. */
export class Build {
  readonly #message: Message;
  readonly #need: BuildDependencies;
  readonly #signal: AbortSignal;
  readonly #handle: string;
  readonly phases: Phases;

  /** An aborted `signal` ends it; its reason is what `run` rejects with. */
  constructor(message: Message, need: BuildDependencies, signal: AbortSignal) {
    this.#message = message;
    this.#need = need;
    this.#signal = signal;
    this.#handle = stagingHandle(message.task_id);
    this.phases = new Phases(need.clock);
  }

  /** Errors: StagingFailed, the signal's reason, and what else went wrong on our side. */
  async run(): Promise<StagedDroplet> {
    const { work_dir, say } = this.#need;
    const held: StagingBuildpack[] = [];
    try {
      await mkdir(work_dir, { recursive: true });
      const [folders, cache] = await Promise.all([this.#buildpacks(held), this.#cache(), this.#package()]);
      await this.#create(folders);
      await this.#fill(cache);
      say('Staging...');
      await this.#runBuildpacks(folders);
      const result = await this.#result();
      const droplet = await this.#upload(result);
      say('Staging complete');
      say(`Staging took ${this.phases.summary()}`);
      return { ...result, ...droplet, execution_metadata: '' };
    } finally {
      for (const buildpack of held) this.#need.buildpacks.release(buildpack);
      await this.#clearAway();
    }
  }

  /** Where each buildpack is: a folder of the host to be mounted, or undefined for one that the container fetches. */
  async #buildpacks(held: StagingBuildpack[]): Promise<(string | undefined)[]> {
    return await this.phases.during('downloading buildpacks', async () => {
      return await Promise.all(
        this.#message.buildpacks.map(async (buildpack) => {
          // A user's own URL is followed from within the container only.
          if (buildpack.kind !== 'admin') return undefined;
          this.#need.say(`Downloading ${buildpack.name}...`);
          const folder = await this.#need.buildpacks.acquire(buildpack, this.#signal).catch((error: unknown) => {
            throw this.#failed(`the buildpack ${buildpack.name} could not be had`, error);
          });
          held.push(buildpack);
          this.#need.say(`Downloaded ${buildpack.name}`);
          return folder;
        }),
      );
    });
  }

  async #package(): Promise<void> {
    const { work_dir, config, say } = this.#need;
    const { package_uri, package_sha256 } = this.#message;
    const zip = join(work_dir, 'package.zip');
    await this.phases.during('downloading the app package', async () => {
      say('Downloading app package...');
      try {
        await this.#retrying(async () => {
          const options = { what: 'app package', sha256: package_sha256, signal: this.#signal };
          await download(package_uri, options, async (body) => await pipeline(body, createWriteStream(zip)));
        });
        say(`Downloaded app package (${byteSize((await stat(zip)).size)})`);
        await unpackZip(zip, join(work_dir, 'app'), {
          max_bytes: config.staging.max_package_bytes,
          max_entries: config.staging.max_package_entries,
          links: 'inside',
        });
        await rm(zip);
      } catch (error) {
        throw this.#failed('the app package could not be used', error);
      }
    });
  }

  /** The folder of what the last build kept; undefined when there is none, or none that can be had: builds do without. */
  async #cache(): Promise<string | undefined> {
    const { work_dir, say } = this.#need;
    const { cache_download_uri } = this.#message;
    if (cache_download_uri === undefined) return undefined;
    const folder = join(work_dir, 'cache');
    try {
      say('Downloading build artifacts cache...');
      const limits = { max_bytes: this.#disk_bytes, max_entries: this.#need.config.staging.max_package_entries };
      const options = { what: 'build artifacts cache', signal: this.#signal };
      const { bytes } = await download(cache_download_uri, options, async (body) => {
        return await unpackCache(body, folder, { ...limits, links: 'kept' });
      });
      say(`Downloaded build artifacts cache (${byteSize(bytes)})`);
      return folder;
    } catch (error) {
      this.#signal.throwIfAborted();
      await rm(folder, { recursive: true, force: true });
      const isAbsent = error instanceof DownloadFailed && error.is_final;
      if (!isAbsent)
        this.#need.log.warn({ task_id: this.#message.task_id, error: String(error) }, 'build cache not used');
      say('No build artifacts cache to use');
      return undefined;
    }
  }

  async #create(folders: readonly (string | undefined)[]): Promise<void> {
    const { dea, warden, config, say, work_dir } = this.#need;
    const { stack, egress_network_rules, task_id, app, service_binding_files } = this.#message;
    await this.phases.during('creating the container', async () => {
      say(`Cell ${dea} creating container for instance ${task_id}`);
      const bind_mounts: NonNullable<CreateRequest['bind_mounts']> = [
        { src_path: LIFECYCLE, dst_path: '/tmp/lifecycle', mode: 'ro' },
      ];
      if (service_binding_files)
        bind_mounts.push(await writeBindingFiles(join(work_dir, 'service-bindings'), service_binding_files));
      for (const [place, folder] of folders.entries()) {
        const dst_path = this.#placeOf(place);
        if (folder !== undefined && !bind_mounts.some((mount) => mount.dst_path === dst_path)) {
          bind_mounts.push({ src_path: folder, dst_path, mode: 'ro' });
        }
      }
      await warden.create({
        handle: this.#handle,
        stack,
        bind_mounts,
        limits: {
          memory_in_bytes: this.memory_mb * 1024 * 1024,
          disk_in_bytes: this.#disk_bytes,
          pids: config.instance.max_processes,
        },
        net_out: egress_network_rules,
        hostname: 'staging',
        is_background: true,
        properties: { dea, staging: task_id, app },
      });
      say(`Cell ${dea} successfully created container for instance ${task_id}`);
    });
  }

  async #fill(cache: string | undefined): Promise<void> {
    const { warden, work_dir } = this.#need;
    await this.phases.during('downloading the app package', async () => {
      try {
        await warden.copyIn(this.#handle, '/tmp/app', tarStream(join(work_dir, 'app')));
        if (cache !== undefined) await warden.copyIn(this.#handle, '/tmp/cache', tarStream(cache));
      } catch (error) {
        throw this.#failed('the app package does not fit into the staging container', error);
      }
    });
  }

  async #runBuildpacks(folders: readonly (string | undefined)[]): Promise<void> {
    const places: string[] = [];
    for (const [place, { kind, url }] of this.#message.buildpacks.entries()) {
      if (folders[place] !== undefined) places.push(this.#placeOf(place));
      else if (kind === 'git') places.push(`git:${url}`);
      else
        places.push(await this.phases.during('downloading buildpacks', async () => await this.#fetchZip(place, url)));
    }
    const mode = this.#message.detect ? 'detect' : 'given';
    await this.phases.during('running the buildpacks', async () => await this.#lifecycle('build', [mode, ...places]));
  }

  /** A zip that a user named: fetched inside, judged and unpacked here, and put back inside. */
  async #fetchZip(place: number, url: string): Promise<string> {
    const { work_dir, config, warden } = this.#need;
    const inside = `/tmp/fetched/${place}.zip`;
    await this.#lifecycle('fetch', [url, inside]);
    try {
      const zip = await this.#copyFile(inside);
      const folder = join(work_dir, `buildpack-${place}`);
      const { max_package_bytes: max_bytes, max_package_entries: max_entries } = config.staging;
      await unpackZip(zip.path, folder, { max_bytes, max_entries, links: 'inside' });
      await warden.copyIn(this.#handle, `/tmp/fetched/${place}`, tarStream(folder));
    } catch (error) {
      throw this.#failed(`the buildpack ${url} could not be used`, error);
    }
    return `/tmp/fetched/${place}`;
  }

  async #result(): Promise<BuildResult> {
    const files = await readTarFiles(await this.#need.warden.copyOut(this.#handle, '/tmp/result'), MAX_RESULT_BYTES);
    const named = new Map([...files].map(([path, content]) => [path.replace(/^(\.\/)?result\//, ''), content]));
    try {
      const result = readBuildResult(named, this.#message.buildpacks);
      if (result.process_types['web'] === undefined && this.#message.start_command === undefined) {
        this.#need.say('No start command specified by buildpack or via Procfile.');
        this.#need.say('App will not start unless a command is provided at runtime.');
      }
      return result;
    } catch (error) {
      throw new StagingFailed('BuildpackReleaseFailed', 'App staging failed in the buildpack release phase', {
        cause: error,
      });
    }
  }

  async #upload(result: BuildResult): Promise<{ sha256: string; size: number }> {
    const { say } = this.#need;
    const info = stagingInfo(result);
    await this.phases.during('packing the droplet', async () => await this.#lifecycle('pack', [info]));
    return await this.phases.during('uploading the droplet', async () => {
      const droplet = await this.#copyFile('/tmp/droplet.tgz');
      // Unpacked while it goes up: the start that follows is likely to be here, and waits for what is not done by then.
      this.#need.droplets.keep(droplet.sha256, droplet.path).catch((error: unknown) => {
        this.#need.log.warn({ task_id: this.#message.task_id, error: String(error) }, 'droplet not kept');
      });
      say('Uploading droplet...');
      await this.#put(this.#message.droplet_upload_uri, droplet.path, 'droplet');
      say(`Uploaded droplet (${byteSize(droplet.size)})`);
      if (this.#message.cache_upload_uri !== undefined) await this.#uploadCache(this.#message.cache_upload_uri);
      say('Uploading complete');
      return droplet;
    });
  }

  /** A cache that cannot be kept costs the next build some time, and this one nothing. */
  async #uploadCache(uri: string): Promise<void> {
    const { say, log } = this.#need;
    try {
      const cache = await this.#copyFile('/tmp/cache.packed');
      say('Uploading build artifacts cache...');
      await this.#put(uri, cache.path, 'build artifacts cache');
      say(`Uploaded build artifacts cache (${byteSize(cache.size)})`);
    } catch (error) {
      this.#signal.throwIfAborted();
      const isEmpty = error instanceof AppError && error.code === 'path_not_found';
      if (!isEmpty) log.warn({ task_id: this.#message.task_id, error: String(error) }, 'build cache not kept');
    }
  }

  async #copyFile(path: string): Promise<{ path: string; sha256: string; size: number }> {
    const target = join(this.#need.work_dir, path.slice(path.lastIndexOf('/') + 1));
    const digest = new DigestStream('sha256');
    await readTar(await this.#need.warden.copyOut(this.#handle, path), async (_file, content: Readable) => {
      await pipeline(content, digest, createWriteStream(target), { signal: this.#signal });
    });
    return { path: target, sha256: digest.digest, size: digest.size };
  }

  async #put(uri: string, path: string, what: string): Promise<void> {
    await this.#retrying(async () => {
      const body = await openAsBlob(path, { type: 'application/octet-stream' });
      await upload(uri, body, { what, signal: this.#signal });
    }).catch((error: unknown) => {
      throw this.#failed(`the ${what} could not be uploaded`, error);
    });
  }

  async #lifecycle(phase: 'fetch' | 'build' | 'pack', parameters: readonly string[]): Promise<void> {
    const { warden, clock, say, config } = this.#need;
    const timeout_s = Math.min(this.#message.timeout_s, config.staging.max_staging_duration_s);
    const env = stagingEnvironment(this.#message, { memory_mb: this.memory_mb, timeout_s });
    const args = ['/bin/bash', RUNNER, phase, ...parameters];
    const job_id = await warden.spawn(this.#handle, { args, env, cwd: '/home/vcap' });
    const job = { warden, clock, handle: this.#handle, job_id, signal: this.#signal };
    const [end] = await Promise.all([
      awaitEnd(job),
      followOutput({ ...job, offset: 0 }, ({ stream, line, timestamp_ns }) => {
        if (line.length > 0) say(line, stream, timestamp_ns);
      }),
    ]);
    if (phase === 'build' || end.exit_status !== 0)
      say(`Exit status ${end.exit_status}${end.oom ? ' (out of memory)' : ''}`);
    if (end.exit_status !== 0) throw failureOfExit(end.exit_status, end.oom);
  }

  async #clearAway(): Promise<void> {
    const { dea, say, work_dir } = this.#need;
    const { task_id } = this.#message;
    say(`Cell ${dea} stopping instance ${task_id}`);
    say(`Cell ${dea} destroying container for instance ${task_id}`);
    await destroyContainer(this.#need, this.#handle);
    await rm(work_dir, { recursive: true, force: true });
    say(`Cell ${dea} successfully destroyed container for instance ${task_id}`);
  }

  get memory_mb(): number {
    return Math.max(this.#message.memory_limit_mb, this.#need.config.staging.memory_limit_mb);
  }

  get #disk_bytes(): number {
    return Math.max(this.#message.disk_limit_mb, this.#need.config.staging.disk_limit_mb) * 1024 * 1024;
  }

  /** The same for a buildpack from one build to the next, since its cache is kept under this name. */
  #placeOf(place: number): string {
    const name = this.#message.buildpacks[place]?.name ?? '';
    return `/tmp/buildpacks/${createHash('md5').update(name).digest('hex')}`;
  }

  /** What the user may know of it is its class's own sentence; the rest is the cause, for the cell's log. */
  #failed(what: string, error: unknown): unknown {
    if (this.#signal.aborted) return this.#signal.reason;
    const why = error instanceof AppError ? `: ${error.message}` : '';
    return new StagingFailed('StagingError', `Staging error: ${what}${why}`, { cause: error });
  }

  async #retrying(work: () => Promise<void>): Promise<void> {
    await retry(work, {
      clock: this.#need.clock,
      attempts: 4,
      first_delay_ms: 300,
      max_delay_ms: 3000,
      signal: this.#signal,
      isWorthRetrying: (error) => error instanceof DownloadFailed && !error.is_final,
    });
  }
}
