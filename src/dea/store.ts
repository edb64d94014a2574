import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { InstanceState, StartMessage } from '#contracts/dea.ts';
import { TaskResult } from '#contracts/cloud-controller.ts';
import { StagingResult } from '#contracts/staging.ts';
import { PortMapping } from '#contracts/warden.ts';
import { systemErrorCode } from '#kernel/errors.ts';
import { StagedImage } from './docker/image.ts';

/** All that it takes to find an instance again after this process was killed. */
export const InstanceRecord = z.object({
  start: StartMessage,
  state: InstanceState,
  state_timestamp: z.number(),
  handle: z.string(),
  /** Set once the container is there. */
  network: z.object({ host_ip: z.string(), container_ip: z.string(), ports: z.array(PortMapping) }).optional(),
  image: StagedImage.optional().describe('what its root file system is, when that is no stack'),
  has_identity: z.boolean().optional().describe('whether its container has a key and a certificate'),
  started_at_ms: z.number(),
  is_ready: z.boolean().describe('false only while a readiness check fails'),
  /** Where each job's output goes on, by job id; a job is here from the moment it is asked for. */
  log_offsets: z.record(z.string(), z.number()),
});
export type InstanceRecord = z.infer<typeof InstanceRecord>;

/** Results that the cloud controller has not taken yet, and builds under way (no result yet). */
export const PendingReport = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('task'), guid: z.string(), result: TaskResult }),
  z.object({ kind: z.literal('staging'), guid: z.string(), result: StagingResult.optional() }),
]);
export type PendingReport = z.infer<typeof PendingReport>;

const Snapshot = z.object({ instances: z.array(InstanceRecord), reports: z.array(PendingReport) });
export type Snapshot = z.infer<typeof Snapshot>;

/**
 * What a DEA knows on disk: its id and a snapshot of what it runs, each written beside and renamed over, so that a reader finds
 * the old or the new and nothing between. Saves that come while one is under way become one more.
 */
export class Store implements AsyncDisposable {
  readonly #path: string;
  readonly #read: () => Snapshot;
  #writing: Promise<void> | undefined;
  #isStale = false;
  #failure: unknown;
  #saved = '';

  /** `read` gives what is to be saved at the moment of saving. */
  constructor(base_dir: string, read: () => Snapshot) {
    this.#path = join(base_dir, 'db/instances.json');
    this.#read = read;
  }

  /** The DEA's id, the same for as long as its folder lives. */
  static async id(base_dir: string): Promise<string> {
    const path = join(base_dir, 'db/id');
    try {
      return z.uuid().parse((await readFile(path, 'utf8')).trim());
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error;
    }
    const id = randomUUID();
    await replace(path, `${id}\n`);
    return id;
  }

  static async load(base_dir: string): Promise<Snapshot> {
    try {
      return Snapshot.parse(JSON.parse(await readFile(join(base_dir, 'db/instances.json'), 'utf8')));
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return { instances: [], reports: [] };
      throw error;
    }
  }

  /** The last save's fault, for whoever asks about our health; undefined when it succeeded. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Resolves when a state not older than this call is on disk, or could not be put there (see `failure`). */
  async save(): Promise<void> {
    this.#isStale = true;
    this.#writing ??= this.#write().finally(() => (this.#writing = undefined));
    await this.#writing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      try {
        const text = JSON.stringify(this.#read());
        if (text !== this.#saved) await replace(this.#path, text);
        this.#saved = text;
        this.#failure = undefined;
      } catch (error) {
        // A full disk must not stop what runs; the next change tries again.
        this.#failure = error;
      }
    }
  }
}

async function replace(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  // It holds the apps' environments, secrets among them.
  await writeFile(`${path}.new`, text, { mode: 0o600 });
  await rename(`${path}.new`, path);
}
