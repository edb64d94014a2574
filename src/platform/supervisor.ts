import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Home } from './home.ts';
import { forgetProcess, isAlive, listProcesses, recordProcess } from './process-record.ts';

/** How to run one process of the platform. */
export interface ChildSpec {
  name: string;
  command: string;
  args: readonly string[];
  env?: Record<string, string>;
  uid?: number;
  gid?: number;
  /** How far it steps back for others, as nice(1) has it. */
  nice?: number;
  stop_signal: NodeJS.Signals;
  /** Asked again and again after the start, with the process's id, until true. */
  isReady: (pid: number) => Promise<boolean>;
}

export class ChildFailed extends AppError {
  constructor(name: string, log: string, lastLines: string, options?: ErrorOptions) {
    super('child_failed', `${name} did not start; its log ${log} ends with:\n${lastLines}`, options);
  }
}

const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 15_000;
const LOG_ROTATE_BYTES = 16 * 1024 * 1024;
/** A process that lived this long starts over with the shortest wait. */
const STEADY_MS = 30_000;
const RESTART_DELAYS_MS = [50, 200, 1000, 5000];

interface Child {
  spec: ChildSpec;
  process: ChildProcess | undefined;
  isWanted: boolean;
  startedAt: number;
  failures: number;
}

/**
 * Keeps the platform's processes running: starts each, starts it again when it ends, stops all in reverse order. Apps are not
 * among them: their containers are held by conmon and outlive everything here.
 */
export class Supervisor {
  readonly #home: Home;
  readonly #log: Log;
  readonly #children = new Map<string, Child>();

  constructor(home: Home, log: Log) {
    this.#home = home;
    this.#log = log;
  }

  /**
   * Ends what an earlier supervisor that was killed left running, so that ports and files are free.
   */
  async endLeftovers(): Promise<void> {
    for (const record of listProcesses(this.#home)) {
      if (record.name === 'supervisor') continue;
      if (isAlive(record)) {
        this.#log.warn({ name: record.name, process: record.pid }, 'process of an earlier start ended');
        const signal: NodeJS.Signals = record.name === 'postgres' ? 'SIGINT' : 'SIGTERM';
        process.kill(record.pid, signal);
        for (let waited = 0; isAlive(record); waited += 50) {
          if (waited >= STOP_LIMIT_MS) process.kill(record.pid, 'SIGKILL');
          await sleep(50);
        }
      }
      forgetProcess(this.#home, record.name);
    }
  }

  /** Starts a process and waits until it is ready. Errors: ChildFailed with the end of its log. */
  async start(spec: ChildSpec): Promise<void> {
    const child: Child = { spec, process: undefined, isWanted: true, startedAt: 0, failures: 0 };
    this.#children.set(spec.name, child);
    this.#spawn(child);
    const end = performance.now() + READY_LIMIT_MS;
    while (child.process?.pid === undefined || !(await spec.isReady(child.process.pid))) {
      // One that ends before it was ever ready has something to say; trying again would only hide it.
      if (child.failures > 0 || performance.now() > end) {
        child.isWanted = false;
        child.process?.kill('SIGKILL');
        throw new ChildFailed(spec.name, this.#logFile(spec.name), this.#lastLines(spec.name));
      }
      await sleep(25);
    }
  }

  /** Sends a signal to one process. */
  signal(name: string, signal: NodeJS.Signals): void {
    this.#children.get(name)?.process?.kill(signal);
  }

  /** Stops one for good and waits for its end; `signal` in place of its usual one. */
  async stop(name: string, signal?: NodeJS.Signals, limit_ms = STOP_LIMIT_MS): Promise<void> {
    const child = this.#children.get(name);
    if (!child) return;
    child.isWanted = false;
    const running = child.process;
    if (running && running.exitCode === null && running.signalCode === null) {
      const gone = new Promise((resolve) => running.once('exit', resolve));
      running.kill(signal ?? child.spec.stop_signal);
      const killer = setTimeout(() => {
        this.#log.warn({ name }, 'process did not stop in time and was killed');
        running.kill('SIGKILL');
      }, limit_ms);
      await gone;
      clearTimeout(killer);
    }
    this.#children.delete(name);
    forgetProcess(this.#home, name);
  }

  /** Stops what is left, last started first. */
  async stopAll(): Promise<void> {
    for (const name of [...this.#children.keys()].reverse()) await this.stop(name);
  }

  #spawn(child: Child): void {
    const { spec } = child;
    const output = this.#openLog(spec.name);
    const { uid, gid } = spec;
    const running = spawn(spec.command, spec.args, {
      stdio: ['ignore', output, output],
      // A group of its own, so that Ctrl-C at the terminal reaches the supervisor alone.
      detached: true,
      cwd: '/',
      env: { ...process.env, ...spec.env },
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
    });
    closeSync(output);
    child.process = running;
    child.startedAt = performance.now();
    if (running.pid !== undefined) recordProcess(this.#home, spec.name, running.pid);
    const ended = (how: object): void => {
      child.process = undefined;
      if (!child.isWanted) return;
      if (performance.now() - child.startedAt > STEADY_MS) child.failures = 0;
      const delay = RESTART_DELAYS_MS[Math.min(child.failures, RESTART_DELAYS_MS.length - 1)] ?? 0;
      child.failures += 1;
      this.#log.error({ name: spec.name, restart_in_ms: delay, ...how }, 'process ended and is started again');
      setTimeout(() => {
        if (child.isWanted) this.#spawn(child);
      }, delay);
    };
    if (spec.nice !== undefined && running.pid !== undefined) this.#stepBack(spec.name, running.pid, spec.nice);
    running.once('error', (error) => ended({ error: error.message }));
    running.once('exit', (exit_status, signal) => ended({ exit_status, signal }));
  }

  /**
   * Each process leads a session, which a kernel with autogroups schedules as one: there `nice` counts within the session, and the
   * session has a value of its own. Without root either may be refused, and nothing depends on it.
   */
  #stepBack(name: string, pid: number, nice: number): void {
    const session = `/proc/${pid}/autogroup`;
    try {
      setPriority(pid, nice);
      if (existsSync(session)) writeFileSync(session, String(nice));
    } catch (error) {
      this.#log.warn({ name, nice, error: describeError(error) }, 'process does not step back for others');
    }
  }

  #logFile(name: string): string {
    return join(this.#home.logs, `${name}.log`);
  }

  #openLog(name: string): number {
    const file = this.#logFile(name);
    try {
      if (statSync(file).size > LOG_ROTATE_BYTES) renameSync(file, `${file}.1`);
    } catch {
      // No log yet.
    }
    return openSync(file, 'a', 0o600);
  }

  #lastLines(name: string): string {
    try {
      return readFileSync(this.#logFile(name), 'utf8').trimEnd().split('\n').slice(-15).join('\n');
    } catch {
      return '(nothing)';
    }
  }
}
