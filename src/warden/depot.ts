import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { BindMount, ContainerLimits, JobResult, PortMapping } from '#contracts/warden.ts';
import { EgressRule } from '#contracts/dea.ts';

const ProcessIdentity = z.object({ pid: z.number().int(), started: z.string() });

/** What is known of a container, on disk before each step that changes the kernel's state. */
export const ContainerRecord = z.object({
  handle: z.string(),
  slot: z.number().int().describe('gives its uids and its network'),
  state: z.enum(['creating', 'active', 'stopped', 'destroying']),
  stack: z.string().optional().describe('absent for an image, whose layers are all of it'),
  layers: z.array(z.string()),
  bind_mounts: z.array(BindMount),
  hostname: z.string(),
  is_background: z.boolean().default(false),
  limits: ContainerLimits,
  ports: z.array(PortMapping),
  net_out: z.array(EgressRule),
  properties: z.record(z.string(), z.string()),
  process: ProcessIdentity.optional().describe('pid 1 of the container'),
  events: z.array(z.string()),
});
export type ContainerRecord = z.infer<typeof ContainerRecord>;

export const JobRecord = z.object({
  job_id: z.string(),
  oom_kills_before: z.number().int(),
  process: ProcessIdentity.optional(),
  result: JobResult.optional(),
});
export type JobRecord = z.infer<typeof JobRecord>;

/**
 * The folder that a restarted daemon knows everything from: `containers/<handle>/state.json`, and `jobs/<job_id>/` with
 * `job.json` and conmon's files below it.
 */
export class Depot {
  readonly #containers: string;

  constructor(folder: string) {
    this.#containers = join(folder, 'containers');
    mkdirSync(this.#containers, { recursive: true, mode: 0o700 });
  }

  handles(): string[] {
    return readdirSync(this.#containers);
  }

  /** Undefined when the record can't be read: whatever there is can only be destroyed. */
  read(handle: string): ContainerRecord | undefined {
    return readJson(ContainerRecord, join(this.#containers, handle, 'state.json'));
  }

  write(record: ContainerRecord): void {
    const folder = join(this.#containers, record.handle);
    mkdirSync(folder, { recursive: true });
    writeJson(join(folder, 'state.json'), record);
  }

  remove(handle: string): void {
    rmSync(join(this.#containers, handle), { recursive: true, force: true, maxRetries: 3 });
  }

  jobsFolder(handle: string): string {
    return join(this.#containers, handle, 'jobs');
  }

  jobFolder(handle: string, job_id: string): string {
    return join(this.jobsFolder(handle), job_id);
  }

  readJob(handle: string, job_id: string): JobRecord | undefined {
    return readJson(JobRecord, join(this.jobFolder(handle, job_id), 'job.json'));
  }

  writeJob(handle: string, record: JobRecord): void {
    const folder = this.jobFolder(handle, record.job_id);
    mkdirSync(folder, { recursive: true });
    writeJson(join(folder, 'job.json'), record);
  }

  removeJob(handle: string, job_id: string): void {
    rmSync(this.jobFolder(handle, job_id), { recursive: true, force: true });
  }

  jobIds(handle: string): string[] {
    try {
      return readdirSync(this.jobsFolder(handle));
    } catch {
      return [];
    }
  }
}

function readJson<Schema extends z.ZodType>(schema: Schema, path: string): z.output<Schema> | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** A reader finds the old record or the new one, whenever we are killed. */
function writeJson(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
