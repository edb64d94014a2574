import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Clock } from '#kernel/clock.ts';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { endProcess, type EngineRecord, forgetEngine, isAlive, noteEngine, readEngine } from './record.ts';
import { type EngineLimits, prepareCgroup, removeCgroup } from './cgroup.ts';
import type { SystemUser } from './system-user.ts';

/** How to run one server that tenants use. */
export interface EngineSpec {
  /** Names its record, its log and its control group. */
  name: string;
  command: string;
  args: readonly string[];
  user: SystemUser;
  limits: EngineLimits;
  stop_signal: EngineRecord['stop_signal'];
  /** What lies where its user may not pass: bound read-only, in a mount namespace of its own, to where it may. */
  binds?: readonly { from: string; to: string }[];
  /** Asked again and again after the start, until true. */
  isReady: () => Promise<boolean>;
}

export interface Surroundings {
  /** Holds records and logs. */
  folder: string;
  cgroup: string;
  clock: Clock;
  log: Log;
}

export class EngineFailed extends AppError {
  constructor(name: string, lastLines: string) {
    super('engine_failed', `${name} did not start; its log ends with: ${lastLines}`);
  }
}

const READY_LIMIT_MS = 60_000;
const WATCH_MS = 500;
const POLL_MS = 25;
const RESTART_DELAYS_MS = [0, 200, 1000, 5000];
const STEADY_MS = 30_000;
const LOG_ROTATE_BYTES = 8 * 1024 * 1024;

/**
 * A server kept running. It is no child that dies with us: a record on disk says which process it is, and the next broker process
 * takes it over as it runs, so that tenants notice nothing of ours. One that ends is started again.
 */
export class Engine implements AsyncDisposable {
  #spec: EngineSpec;
  readonly #around: Surroundings;
  #running: EngineRecord | undefined;
  #watch: Disposable | undefined;
  #failures = 0;
  #startedAt = 0;
  #nextTryAt = 0;

  constructor(spec: EngineSpec, around: Surroundings) {
    this.#spec = spec;
    this.#around = around;
  }

  get isUp(): boolean {
    return this.#running !== undefined && isAlive(this.#running);
  }

  /** Takes over the process that runs, or starts one, and waits until it is ready. Errors: EngineFailed. */
  async start(): Promise<void> {
    const { clock, log } = this.#around;
    const kept = readEngine(this.#around.folder, this.#spec.name);
    if (kept && isAlive(kept)) {
      this.#running = kept;
      log.info({ engine: this.#spec.name, process: kept.pid }, 'engine taken over');
    } else this.#spawn();
    const end = clock.monotonic() + READY_LIMIT_MS;
    while (!(await this.#spec.isReady())) {
      // One that ends before it was ever ready has something to say; trying again would only hide it.
      if (!this.isUp || clock.monotonic() > end) {
        await this.#end();
        throw new EngineFailed(this.#spec.name, this.#lastLines());
      }
      await clock.sleep(POLL_MS);
    }
    this.#startedAt = clock.monotonic();
    this.#watch = clock.every(WATCH_MS, () => this.#look());
  }

  /** Limits it otherwise from now on; what else is new is so at its next start. */
  change(spec: EngineSpec): void {
    this.#spec = spec;
    prepareCgroup(this.#cgroup, spec.limits);
  }

  /** Sends it a signal, such as to read its configuration anew; one that is down reads it at its start. */
  signal(signal: 'SIGHUP'): void {
    if (this.#running && isAlive(this.#running)) process.kill(this.#running.pid, signal);
  }

  /** Stops it for good. */
  async stop(): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    this.#running ??= readEngine(this.#around.folder, this.#spec.name);
    await this.#end();
    removeCgroup(this.#cgroup);
    removeCgroup(this.#around.cgroup);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #cgroup(): string {
    return `${this.#around.cgroup}/${this.#spec.name}`;
  }

  /** Starts it again when it has ended, ever later while it ends at once. */
  #look(): void {
    const { clock, log } = this.#around;
    if (this.isUp) {
      if (clock.monotonic() - this.#startedAt > STEADY_MS) this.#failures = 0;
      return;
    }
    if (this.#running) {
      this.#running = undefined;
      const delay = RESTART_DELAYS_MS[Math.min(this.#failures, RESTART_DELAYS_MS.length - 1)] ?? 0;
      this.#failures += 1;
      this.#nextTryAt = clock.monotonic() + delay;
      log.error({ engine: this.#spec.name, restart_in_ms: delay }, 'engine ended and is started again');
    }
    if (clock.monotonic() < this.#nextTryAt) return;
    try {
      this.#spawn();
      this.#startedAt = clock.monotonic();
    } catch (error) {
      this.#nextTryAt = clock.monotonic() + STEADY_MS;
      log.error({ engine: this.#spec.name, error: describeError(error) }, 'engine not started');
    }
  }

  #spawn(): void {
    const { spec, output } = { spec: this.#spec, output: this.#openLog() };
    const groups = prepareCgroup(this.#cgroup, spec.limits);
    if (groups.length === 0) this.#around.log.warn({ engine: spec.name }, 'engine runs without limits of memory');
    // As root into the group and down in the kernel's esteem, then as its own user; one exec after the other keeps one process.
    const script =
      'for group in $GROUPS_TO_JOIN; do echo $$ > $group; done; echo 500 > /proc/self/oom_score_adj; exec "$@"';
    const lower = [
      'setpriv',
      `--reuid=${spec.user.uid}`,
      `--regid=${spec.user.gid}`,
      '--clear-groups',
      '--no-new-privs',
      '--',
    ];
    const bound = bindFirst(spec.binds ?? []);
    const child = spawn('/bin/sh', ['-c', script, spec.name, ...bound, ...lower, spec.command, ...spec.args], {
      stdio: ['ignore', output, output],
      detached: true,
      cwd: '/',
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        LC_ALL: 'C.UTF-8',
        GROUPS_TO_JOIN: groups.join(' '),
      },
    });
    closeSync(output);
    child.once('error', (error) =>
      this.#around.log.error({ engine: spec.name, error: error.message }, 'engine not started'),
    );
    child.unref();
    if (child.pid === undefined) return;
    const { stop_signal } = spec;
    this.#running = noteEngine(this.#around.folder, spec.name, { pid: child.pid, stop_signal });
    this.#around.log.info({ engine: spec.name, process: child.pid }, 'engine started');
  }

  async #end(): Promise<void> {
    const { clock, log, folder } = this.#around;
    const running = this.#running;
    this.#running = undefined;
    if (running && !(await endProcess(running, clock)))
      log.warn({ engine: this.#spec.name }, 'engine did not stop in time and was killed');
    forgetEngine(folder, this.#spec.name);
  }

  get #logFile(): string {
    return join(this.#around.folder, 'logs', `${this.#spec.name}.log`);
  }

  #openLog(): number {
    mkdirSync(dirname(this.#logFile), { recursive: true, mode: 0o700 });
    try {
      if (statSync(this.#logFile).size > LOG_ROTATE_BYTES) renameSync(this.#logFile, `${this.#logFile}.1`);
    } catch {
      // No log yet.
    }
    return openSync(this.#logFile, 'a', 0o600);
  }

  #lastLines(): string {
    try {
      return readFileSync(this.#logFile, 'utf8').trimEnd().split('\n').slice(-8).join('\n');
    } catch {
      return '(nothing)';
    }
  }
}

/** A prefix of a command that binds folders and files before it goes on; without any, nothing. */
function bindFirst(binds: NonNullable<EngineSpec['binds']>): string[] {
  if (binds.length === 0) return [];
  const script =
    'set -e; while [ "$1" != -- ]; do mount --bind "$1" "$2"; mount -o remount,bind,ro "$2"; shift 2; done; shift; exec "$@"';
  return [
    'unshare',
    '--mount',
    '--',
    '/bin/sh',
    '-c',
    script,
    'bind',
    ...binds.flatMap(({ from, to }) => [from, to]),
    '--',
  ];
}
