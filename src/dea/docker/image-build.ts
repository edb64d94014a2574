import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { createWriteStream, openAsBlob } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { digestFile } from '#archive/digest.ts';
import { tarGzStream } from '#archive/pack-tar.ts';
import type { DockerImage } from '#contracts/dea.ts';
import type { StagingMessage } from '#contracts/staging.ts';
import { retry, type RetryOptions } from '#kernel/retry.ts';
import { DownloadFailed } from '../download.ts';
import type { BuildDependencies, StagedDroplet } from '../staging/build.ts';
import { Phases } from '../staging/phases.ts';
import { upload } from '../upload.ts';
import { imageArguments, imageCommand, imagePorts, type StagedImage } from './image.ts';
import { RegistryFailed } from './image-errors.ts';
import { findImage, loginOf } from './registry.ts';

type Needs = Pick<BuildDependencies, 'work_dir' | 'config' | 'clock' | 'say'>;

/** A build of an image: it is looked up, and its droplet holds no more than what is needed to run it as it is now. */
export class ImageBuild {
  readonly #message: StagingMessage;
  readonly #docker: DockerImage;
  readonly #need: Needs;
  readonly #signal: AbortSignal;
  readonly phases: Phases;

  constructor(order: { message: StagingMessage; docker: DockerImage }, need: Needs, signal: AbortSignal) {
    this.#message = order.message;
    this.#docker = order.docker;
    this.#need = need;
    this.#signal = signal;
    this.phases = new Phases(need.clock);
  }

  /** Errors: those of findImage, DownloadFailed, the signal's reason. */
  async run(): Promise<StagedDroplet> {
    const { say, work_dir } = this.#need;
    try {
      say('Staging...');
      say(`Looking up the image ${this.#docker.image}...`);
      const image = await this.phases.during('looking up the image', async () => await this.#find());
      say(`Found ${image.repository}@${image.digest} with ${image.layers.length} layers`);
      const droplet = await this.phases.during('uploading the droplet', async () => await this.#upload(image));
      say('Staging complete');
      const command = imageCommand(image.config);
      return {
        ...droplet,
        process_types: command === '' ? {} : { web: command },
        buildpacks: [],
        execution_metadata: executionMetadata(image),
      };
    } finally {
      await rm(work_dir, { recursive: true, force: true });
    }
  }

  async #find(): Promise<StagedImage> {
    const login = loginOf(this.#docker);
    return await retry(
      async () => await findImage(this.#docker.image, { login, ...this.#need.config.docker, signal: this.#signal }),
      this.#retrying((error) => error instanceof RegistryFailed),
    );
  }

  async #upload(image: StagedImage): Promise<{ sha256: string; size: number }> {
    const folder = join(this.#need.work_dir, 'droplet');
    const path = join(this.#need.work_dir, 'droplet.tgz');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'image.json'), JSON.stringify(image));
    await pipeline(tarGzStream(folder, { mtime: new Date(0) }), createWriteStream(path), { signal: this.#signal });
    const { sha256 } = await digestFile(path, 'sha256');
    await retry(
      async () => {
        const body = await openAsBlob(path, { type: 'application/octet-stream' });
        await upload(this.#message.droplet_upload_uri, body, { what: 'droplet', signal: this.#signal });
      },
      this.#retrying((error) => error instanceof DownloadFailed && !error.is_final),
    );
    return { sha256, size: (await stat(path)).size };
  }

  #retrying(isWorthRetrying: (error: unknown) => boolean): RetryOptions {
    const { clock } = this.#need;
    return { clock, attempts: 4, first_delay_ms: 300, max_delay_ms: 3000, signal: this.#signal, isWorthRetrying };
  }
}

/** What Cloud Foundry's API tells of how an image runs. Source: dockerapplifecycle, execution metadata. */
function executionMetadata({ config }: StagedImage): string {
  return JSON.stringify({
    cmd: imageArguments(config),
    workdir: config.WorkingDir ?? '',
    user: config.User ?? '',
    ports: imagePorts(config).map((Port) => ({ Port, Protocol: 'tcp' })),
  });
}
