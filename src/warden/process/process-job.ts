import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { JobOutput, JobResult } from '#contracts/warden.ts';
import { WardenError } from '#http/warden-client.ts';
import { describeError } from '#kernel/errors.ts';
import { OutputLog } from './output-log.ts';
import { isGroupAlive, signalGroup } from './processes.ts';

/** What a process wrote before it ended is on its way; what its children hold open is not waited for. */
const LAST_WORDS_MS = 200;

export interface JobCommand {
  args: readonly string[];
  env: Record<string, string>;
  cwd: string;
  user: { uid: number; gid: number } | undefined;
}

/** A process of this machine, leader of a group of its own, that ends with the daemon. */
export class ProcessJob {
  readonly job_id: string;
  readonly pid: number;
  readonly end: Promise<JobResult>;
  readonly #log: OutputLog;

  private constructor(job_id: string, child: ChildProcess, keep_bytes: number) {
    this.job_id = job_id;
    this.pid = child.pid ?? 0;
    this.#log = new OutputLog(keep_bytes);
    this.end = this.#follow(child);
  }

  /** Errors: WardenError spawn_failed. */
  static async start(job_id: string, command: JobCommand, keep_bytes: number): Promise<ProcessJob> {
    const { args, env, cwd, user } = command;
    const [file = '', ...rest] = args;
    const child = spawn(file, rest, { env, cwd, ...user, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    try {
      await once(child, 'spawn');
    } catch (error) {
      throw new WardenError('spawn_failed', `${file}: ${describeError(error)}`, { cause: error });
    }
    return new ProcessJob(job_id, child, keep_bytes);
  }

  get isAlive(): boolean {
    return isGroupAlive(this.pid);
  }

  signal(signal: NodeJS.Signals): void {
    signalGroup(this.pid, signal);
  }

  async *output(offset: number, signal: AbortSignal): AsyncGenerator<JobOutput> {
    yield* this.#log.follow(offset, signal);
    if (!signal.aborted) yield await this.end;
  }

  async #follow(child: ChildProcess): Promise<JobResult> {
    const { stdout, stderr } = child;
    if (!stdout || !stderr) throw new Error('a process without its streams');
    const taken = Promise.allSettled([this.#log.take('stdout', stdout), this.#log.take('stderr', stderr)]);
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    await Promise.race([taken, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))]);
    this.#log.close();
    return { exit_status: code ?? 128 + (signal ? constants.signals[signal] : 0), oom: false };
  }
}
