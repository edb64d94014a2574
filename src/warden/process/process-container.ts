import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { FRAME } from '#contracts/attach.ts';
import type {
  ContainerInfo,
  ContainerLimits,
  CreateReply,
  JobOutput,
  JobResult,
  LimitRequest,
  PortMapping,
  SignalName,
  SpawnRequest,
} from '#contracts/warden.ts';
import { encodeFrame } from '#http/frames.ts';
import { WardenError } from '#http/warden-client.ts';
import { describeError } from '#kernel/errors.ts';
import type { BackendContainer } from '../backend.ts';
import { placeOf, placesIn } from './places.ts';
import { ProcessJob } from './process-job.ts';
import { figuresOf } from './processes.ts';

export const LOOPBACK = '127.0.0.1';
const LOOK_MS = 20;

export interface ProcessContainerOptions {
  handle: string;
  /** what it has for itself */
  root: string;
  user: { uid: number; gid: number } | undefined;
  limits: ContainerLimits;
  properties: Record<string, string>;
  ports: PortMapping[];
  log_keep_bytes: number;
  /** Takes a free port of this machine. */
  takePort: (wanted?: number) => Promise<number>;
  /** Called when its processes are others than before. */
  changed: (pids: number[]) => Promise<void>;
}

/** A folder and some processes, which see and reach all that their user does. Where a verb means isolation it says that there is none. */
export class ProcessContainer implements BackendContainer {
  readonly handle: string;
  readonly #options: ProcessContainerOptions;
  readonly #jobs = new Map<string, ProcessJob>();
  #state: 'active' | 'stopped' = 'active';

  constructor(options: ProcessContainerOptions) {
    this.handle = options.handle;
    this.#options = options;
  }

  get properties(): Record<string, string> {
    return this.#options.properties;
  }

  get ports(): readonly PortMapping[] {
    return this.#options.ports;
  }

  describe(): CreateReply {
    return { handle: this.handle, host_ip: LOOPBACK, container_ip: LOOPBACK, ports: this.#options.ports };
  }

  async info(): Promise<ContainerInfo> {
    const { limits, properties } = this.#options;
    const { pids, rss_bytes, cpu_ns } = await figuresOf([...this.#jobs.values()].map(({ pid }) => pid));
    return {
      ...this.describe(),
      state: this.#state,
      events: [],
      properties,
      memory_stat: { usage: rss_bytes, rss: rss_bytes, cache: 0, limit: limits.memory_in_bytes },
      cpu_stat: { usage_ns: cpu_ns, throttled_ns: 0 },
      io_stat: { weight: null, note: 'the backend "process" holds nobody to a limit' },
      disk_stat: { bytes_used: 0, bytes_limit: limits.disk_in_bytes },
      pids,
      job_ids: [...this.#jobs.keys()],
    };
  }

  async spawn(request: SpawnRequest): Promise<ProcessJob> {
    this.mustRun();
    const { root, user, log_keep_bytes, changed } = this.#options;
    const job_id = request.job_id ?? randomUUID();
    if (this.#jobs.has(job_id)) throw new WardenError('handle_taken', `there is a job ${job_id} already`);
    const env: Record<string, string> = { PATH: process.env['PATH'] ?? '/usr/bin:/bin' };
    for (const pair of request.env ?? []) {
      const at = pair.indexOf('=');
      if (at > 0) env[pair.slice(0, at)] = placesIn(root, pair.slice(at + 1));
    }
    const args = request.args.map((argument) => placesIn(root, argument));
    const cwd = placeOf(root, request.cwd ?? '/home/vcap');
    if (!existsSync(cwd)) throw new WardenError('spawn_failed', `${request.args[0]}: there is no folder ${cwd}`);
    const job = await ProcessJob.start(job_id, { args, env, cwd, user }, log_keep_bytes);
    this.#jobs.set(job_id, job);
    await changed(this.#pids());
    return job;
  }

  async run(request: SpawnRequest, signal: AbortSignal): Promise<JobResult> {
    const job = await this.spawn(request);
    const written = { stdout: '', stderr: '' };
    for await (const line of job.output(0, signal)) {
      if ('name' in line)
        written[line.name] += Buffer.from(line.data, 'base64').toString() + (line.partial ? '' : '\n');
    }
    this.#jobs.delete(job.job_id);
    return { ...(await job.end), ...written };
  }

  async link(job_id: string): Promise<JobResult> {
    return await this.#job(job_id).end;
  }

  output(job_id: string, offset: number, signal: AbortSignal): AsyncGenerator<JobOutput> {
    return this.#job(job_id).output(offset, signal);
  }

  signal(job_id: string, signal: SignalName): void {
    this.#job(job_id).signal(`SIG${signal}`);
  }

  async stop({ grace_s, kill }: { grace_s: number; kill: boolean }): Promise<void> {
    this.#state = 'stopped';
    const jobs = [...this.#jobs.values()];
    if (!kill) {
      for (const job of jobs) job.signal('SIGTERM');
      await this.#untilQuiet(grace_s * 1000);
    }
    for (const job of jobs) job.signal('SIGKILL');
    await Promise.all(jobs.map(async (job) => await job.end));
  }

  async netIn({ host_port }: { host_port?: number | undefined }): Promise<PortMapping> {
    this.mustRun();
    const port = await this.#options.takePort(host_port);
    // There is one network: the port that leads in is the one to listen on.
    const mapping = { host_port: port, container_port: port };
    this.#options.ports.push(mapping);
    return mapping;
  }

  netOut(): Promise<void> {
    return Promise.reject(cannot('has no egress rules'));
  }

  limit(change: LimitRequest): Promise<ContainerLimits> {
    if (Object.values(change).every((value) => value === undefined)) return Promise.resolve(this.#options.limits);
    return Promise.reject(cannot('holds nobody to a limit'));
  }

  async copyIn({ path, tar }: { path: string; tar: Readable }): Promise<void> {
    const folder = placeOf(this.#options.root, path);
    const script = 'mkdir -p -- "$1" || exit 3; exec tar -x -o -f - -C "$1"';
    const child = this.#tool(['/bin/sh', '-c', script, 'copy-in', folder]);
    const fed = pipeline(tar, child.stdin).catch(() => {}); // a tar that refuses closes its end; its words say why
    const ended = once(child, 'close');
    const [[status], words] = await Promise.all([ended, text(child.stderr), fed]);
    child.stdout.resume();
    if (status === 0) return;
    const code = status === 3 ? 'path_not_found' : 'invalid_request';
    throw new WardenError(code, `unpacking below ${path}: ${words.trim().slice(0, 500)}`);
  }

  async copyOut({ path, begin, to }: { path: string; begin: () => void; to: Writable }): Promise<void> {
    const place = placeOf(this.#options.root, path);
    if (!existsSync(place)) throw new WardenError('path_not_found', `there is no ${path} in ${this.handle}`);
    const child = this.#tool(['tar', '-c', '-f', '-', '-C', dirname(place), '--', basename(place) || '.']);
    child.stdin.end();
    const words = text(child.stderr);
    const ended = once(child, 'close');
    begin();
    await pipeline(child.stdout, to, { end: false });
    const [status] = (await ended) as [number | null];
    if (status !== 0) throw new Error(`packing ${path}: ${await words}`);
    to.end();
  }

  /** Errors: WardenError container_state. */
  mustRun(): void {
    if (this.#state !== 'active')
      throw new WardenError('container_state', `container ${this.handle} is ${this.#state}, not active`);
  }

  attach(socket: Socket): Promise<void> {
    const { code, message } = cannot('lets nobody in: open a shell of your own in its folder');
    socket.end(encodeFrame(FRAME.error, { code, message }));
    return Promise.resolve();
  }

  async dial({ host, port }: { host: string; port: number }): Promise<Socket> {
    const socket = connect({ host: host || 'localhost', port });
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      throw new WardenError('path_not_found', `${host}:${port}: ${describeError(error)}`, { cause: error });
    }
  }

  /** The folders that every container has. */
  async prepare(): Promise<void> {
    for (const folder of ['home/vcap', 'tmp']) await mkdir(join(this.#options.root, folder), { recursive: true });
  }

  #job(job_id: string): ProcessJob {
    const job = this.#jobs.get(job_id);
    if (!job) throw new WardenError('job_not_found', `container ${this.handle} has no job ${job_id}`);
    return job;
  }

  #pids(): number[] {
    return [...this.#jobs.values()].filter(({ isAlive }) => isAlive).map(({ pid }) => pid);
  }

  async #untilQuiet(patience_ms: number): Promise<void> {
    const deadline = performance.now() + patience_ms;
    while (this.#pids().length > 0 && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }

  #tool([file = '', ...args]: readonly string[]) {
    return spawn(file, args, { cwd: '/', ...this.#options.user, stdio: ['pipe', 'pipe', 'pipe'] });
  }
}

export const cannot = (what: string): WardenError =>
  new WardenError('invalid_request', `the backend "process" ${what}; it is for development only`);
