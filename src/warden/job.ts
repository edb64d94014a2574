import { closeSync, existsSync, type FSWatcher, mkdirSync, openSync, readFileSync, statSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import type { JobResult } from '#contracts/warden.ts';
import type { Depot, JobRecord } from './depot.ts';
import { identify, isAlive, processesWith } from './processes.ts';
import { type JobFiles, jobFiles } from './runtime.ts';
import { punchHole } from './syscalls.ts';

/** Nobody tells us when conmon is killed: so often we look whether anyone is left who will write an exit status. */
const LOOK_MS = 2000;
const BLOCK = 4096;

export interface JobOptions {
  depot: Depot;
  handle: string;
  record: JobRecord;
  oomKills: () => number;
  /** Of the log so much is kept on disk, the newest; what was read before it was trimmed is not lost. */
  log_keep_bytes: number;
}

/**
 * A process in a container, from before it runs until its container is destroyed. conmon holds its output and exit status in
 * files; this only watches them, so that it can be made again from the same files by the next daemon.
 */
export class Job {
  readonly files: JobFiles;
  readonly end: Promise<JobResult>;
  readonly #options: JobOptions;
  #record: JobRecord;
  #watcher: FSWatcher | undefined;
  #trimmed = 0;
  #timer: NodeJS.Timeout | undefined;
  #resolve: (result: JobResult) => void = () => {};

  constructor(options: JobOptions) {
    this.#options = options;
    this.#record = options.record;
    this.files = jobFiles(options.depot.jobFolder(options.handle, options.record.job_id), options.handle);
    this.end = new Promise((resolve) => (this.#resolve = resolve));
    if (this.#record.result) this.#resolve(this.#record.result);
  }

  get job_id(): string {
    return this.#record.job_id;
  }

  get hasEnded(): boolean {
    return this.#record.result !== undefined;
  }

  /** The job's first process; undefined once it has ended. */
  get pid(): number | undefined {
    const { process } = this.#record;
    return process && !this.hasEnded && isAlive(process) ? process.pid : undefined;
  }

  /** Called once it runs, and at the start of a daemon for each job that it finds. */
  watch(pid?: number): void {
    if (this.hasEnded) return;
    this.#learnProcess(pid);
    mkdirSync(dirname(this.files.exit), { recursive: true });
    this.#watcher = watch(dirname(this.files.exit), () => this.#look());
    this.#watcher.on('error', () => {});
    this.#timer = setInterval(() => {
      this.#trimLog();
      this.#look();
    }, LOOK_MS);
    this.#look();
  }

  /** Ends the watch and the wait: the container is gone, or it was never started. */
  giveUp(): void {
    this.#look();
    if (!this.hasEnded) this.#finish(-1);
  }

  close(): void {
    this.#watcher?.close();
    clearInterval(this.#timer);
  }

  #learnProcess(pid?: number): void {
    if (this.#record.process) return;
    const known = pid ?? (existsSync(this.files.pid) ? Number(readFileSync(this.files.pid, 'utf8')) : 0);
    const process = known > 0 ? identify(known) : undefined;
    if (process) this.#update({ ...this.#record, process });
  }

  #look(): void {
    if (this.hasEnded) return;
    const status = readStatus(this.files.exit);
    if (status !== undefined) {
      this.#finish(status);
      return;
    }
    this.#learnProcess();
    if (this.pid !== undefined || this.#hasKeeper()) return;
    // It may have ended between the two looks.
    this.#finish(readStatus(this.files.exit) ?? -1);
  }

  /** Whether a conmon of this job lives, who will write the status. */
  #hasKeeper(): boolean {
    if (existsSync(this.files.conmon_pid)) {
      const pid = Number(readFileSync(this.files.conmon_pid, 'utf8'));
      return pid > 0 && processesWith([this.files.conmon_pid]).includes(pid);
    }
    return processesWith([this.files.conmon_pid]).length > 0;
  }

  #finish(exit_status: number): void {
    this.#trimLog();
    const oom = this.#options.oomKills() > this.#record.oom_kills_before;
    const result = { exit_status, oom };
    this.#update({ ...this.#record, result });
    this.close();
    this.#resolve(result);
  }

  /** The file keeps its length, so that offsets stay true; its beginning becomes a hole. */
  #trimLog(): void {
    const size = statSync(this.files.log, { throwIfNoEntry: false })?.size ?? 0;
    const surplus = size - this.#options.log_keep_bytes;
    const end = surplus - (surplus % BLOCK);
    if (end <= this.#trimmed) return;
    const fd = openSync(this.files.log, 'r+');
    try {
      punchHole(fd, this.#trimmed, end - this.#trimmed);
      this.#trimmed = end;
    } finally {
      closeSync(fd);
    }
  }

  #update(record: JobRecord): void {
    this.#record = record;
    this.#options.depot.writeJob(this.#options.handle, record);
  }
}

function readStatus(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8').trim();
  return text === '' ? undefined : Number(text);
}
