import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AppError, systemErrorCode } from '#kernel/errors.ts';
import type { OciProcess } from './oci-spec.ts';
import { quickSpawn } from './quick-spawn.ts';

const CRUN = '/usr/bin/crun';
const CONMON = '/usr/bin/conmon';
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** crun or conmon refused; the message holds their words. */
export class RuntimeError extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('runtime_failed', message, options);
  }
}

export interface JobFiles {
  /** output as conmon writes it */
  log: string;
  /** holds the exit status once the job has ended */
  exit: string;
  pid: string;
  conmon_pid: string;
}

export function jobFiles(folder: string, handle: string): JobFiles {
  return {
    log: join(folder, 'log'),
    exit: join(folder, 'exit', handle),
    pid: join(folder, 'pid'),
    conmon_pid: join(folder, 'conmon.pid'),
  };
}

/** The two programs that hold containers: crun makes them, conmon keeps a job's output and exit status when we die. */
export class Runtime {
  /** crun's state; on a tmpfs, since it means nothing after a reboot */
  readonly state: string;

  constructor(state: string) {
    this.state = state;
  }

  /** Creates and starts a container from the bundle's config.json; gives its pid 1. */
  async run(handle: string, bundle: string): Promise<number> {
    const pid_file = join(bundle, 'pid');
    const args = ['run', '--detach', `--bundle=${bundle}`, `--pid-file=${pid_file}`, handle];
    await this.#crun(handle, args);
    return Number(await readFile(pid_file, 'utf8'));
  }

  /** Starts a process in the container under a conmon of its own; resolves with its pid once it runs. */
  async exec(handle: string, folder: string, spec: OciProcess): Promise<number> {
    const files = jobFiles(folder, handle);
    const spec_file = join(folder, 'process.json');
    await mkdir(join(folder, 'exit'), { recursive: true });
    await writeFile(spec_file, JSON.stringify(spec));
    const container = `--api-version 1 -c ${handle} -u ${handle} -n ${handle}`.split(' ');
    const runtime = ['-r', CRUN, `--runtime-arg=--root=${this.state}`, '-e', '--exec-process-spec', spec_file];
    const pids = ['-b', folder, '-p', files.pid, '-P', files.conmon_pid, '--exit-dir', join(folder, 'exit')];
    const output = ['-l', `k8s-file:${files.log}`, '--full-attach', '--no-sync-log', '--log-level', 'error'];
    const args = [...container, ...runtime, ...pids, ...output];
    const conmon = quickSpawn([CONMON, ...args], { _OCI_SYNCPIPE: '3', PATH });
    try {
      return await pidFrom(conmon.pipe);
    } finally {
      // This one ends once its child, the conmon that stays, runs.
      conmon.reap();
    }
  }

  /** `crun exec` held by us, for what streams through it. The spec's file stays for as long as crun may read it. */
  execAttached(handle: string, spec_file: string, options: { stdio: StdioOptions; pid_file?: string }): ChildProcess {
    const { stdio, pid_file } = options;
    const pid = pid_file === undefined ? [] : [`--pid-file=${pid_file}`];
    return spawn(CRUN, [`--root=${this.state}`, 'exec', ...pid, '--process', spec_file, handle], { stdio });
  }

  /** Kills all that runs in the container and removes what crun knows of it; one that crun does not know is no error. */
  async delete(handle: string): Promise<void> {
    try {
      await this.#crun(handle, ['delete', '--force', handle]);
    } catch (error) {
      if (!(error instanceof RuntimeError) || !/does not exist|No such file/.test(error.message)) throw error;
    }
  }

  /** What crun compiled the seccomp profile of a running container to. */
  async seccompProgram(handle: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.state, handle, 'seccomp.bpf'), 'base64');
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async #crun(handle: string, args: string[]): Promise<void> {
    const log = `${this.state}-${handle}.log`;
    const child = quickSpawn([CRUN, `--root=${this.state}`, `--log=file:${log}`, ...args], { PATH });
    child.pipe.resume();
    await once(child.pipe, 'close');
    const code = child.reap();
    const words = await readFile(log, 'utf8').catch(() => '');
    await rm(log, { force: true });
    if (code === 0) return;
    throw new RuntimeError(`crun ${args[0]}: ${words.trim() || `exit ${code}`}`);
  }
}

/** conmon's one line on its pipe: `{"data":PID}`, or a negative number with a message. */
async function pidFrom(pipe: Readable): Promise<number> {
  let text = '';
  try {
    for await (const chunk of pipe) {
      text += String(chunk);
      if (text.includes('\n')) break;
    }
  } finally {
    pipe.destroy();
  }
  // The job's end may already follow in a line of its own.
  const reply = parseReply(text.split('\n', 1)[0] ?? '');
  if (reply.data > 0) return reply.data;
  throw new RuntimeError(`conmon: ${reply.message ?? `answered ${text.trim() || 'nothing'}`}`);
}

function parseReply(text: string): { data: number; message?: string } {
  try {
    const reply = JSON.parse(text) as { data?: unknown; message?: unknown };
    return {
      data: typeof reply.data === 'number' ? reply.data : -1,
      ...(typeof reply.message === 'string' ? { message: reply.message.trim() } : {}),
    };
  } catch {
    return { data: -1 };
  }
}
