import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type {
  ContainerInfo,
  ContainerLimits,
  CreateReply,
  JobOutput,
  JobResult,
  LimitRequest,
  NetInRequest,
  PortMapping,
  SignalName,
  SpawnRequest,
} from '#contracts/warden.ts';
import type { EgressRule } from '#contracts/dea.ts';
import { describeError } from '#kernel/errors.ts';
import { WardenError } from '#http/warden-client.ts';
import { limitBandwidth } from './bandwidth.ts';
import { build, demolish, endWorkOn, rulesOf } from './build.ts';
import type { Cgroup } from './cgroup.ts';
import type { ContainerRecord } from './depot.ts';
import type { Ground } from './ground.ts';
import { Job } from './job.ts';
import { followLog } from './job-log.ts';
import { processSpec } from './oci-spec.ts';
import { groupOf, isAlive, signalProcess } from './processes.ts';
import { environmentOf, userOf } from './user.ts';
import { RuntimeError } from './runtime.ts';

const OUT_OF_MEMORY = 'out of memory';
const LOOK_MS = 15;
/** KILL needs no more, but for a process that hangs in the kernel. */
const KILL_PATIENCE_MS = 10_000;
/** conmon writes a job's exit status once its process is dead; so long a destroy waits for it. */
const STATUS_PATIENCE_MS = 2000;
const RUN_OUTPUT_MAX = 10 * 1024 * 1024;

/**
 * One container, from its record on. Calls that change it wait for each other; waits and streams do not. Its record is on disk
 * before each change.
 */
export class Container {
  readonly handle: string;
  readonly jobs = new Map<string, Job>();
  readonly #ground: Ground;
  #record: ContainerRecord;
  #last: Promise<unknown> = Promise.resolve();

  constructor(ground: Ground, record: ContainerRecord) {
    this.#ground = ground;
    this.#record = record;
    this.handle = record.handle;
  }

  get record(): Readonly<ContainerRecord> {
    return this.#record;
  }

  /** A container that failed to be made is destroyed by the caller. Errors: WardenError create_failed. */
  async create(): Promise<void> {
    await this.#exclusive(async () => {
      this.#save({});
      try {
        const process = await build(this.#ground, this.#record);
        this.#save({ state: 'active', process });
      } catch (error) {
        throw new WardenError('create_failed', `container ${this.handle}: ${describeError(error)}`, { cause: error });
      }
    });
  }

  /** After a start of the daemon: finds its jobs again, and whether it still runs. */
  adopt(): void {
    for (const job_id of this.#ground.depot.jobIds(this.handle)) {
      const record = this.#ground.depot.readJob(this.handle, job_id);
      if (record) this.#addJob(new Job({ ...this.#jobOptions(), record })).watch();
    }
    if (!this.#isRunning()) this.#save({ state: 'stopped' });
  }

  describe(): CreateReply {
    const { host_ip, container_ip } = this.#ground.placeOf(this.#record.slot);
    return { handle: this.handle, host_ip, container_ip, ports: this.#record.ports };
  }

  info(): ContainerInfo {
    const cgroup = this.#cgroup;
    this.#noteMemory(cgroup.oomKills());
    const { state, events, properties, limits } = this.#record;
    return {
      ...this.describe(),
      state: state === 'active' && this.#isRunning() ? 'active' : 'stopped',
      events,
      properties,
      memory_stat: cgroup.memory(),
      cpu_stat: cgroup.cpu(),
      io_stat: cgroup.io(),
      disk_stat: { bytes_used: this.#ground.disks.bytesUsed(this.handle), bytes_limit: limits.disk_in_bytes },
      pids: cgroup.processes().length,
      job_ids: [...this.jobs.keys()],
    };
  }

  /** Errors: WardenError container_state, handle_taken for a job id that is used, invalid_request for a user, spawn_failed. */
  async spawn(request: SpawnRequest): Promise<Job> {
    return await this.#exclusive(async () => {
      this.mustRun();
      const job_id = request.job_id ?? randomUUID();
      if (this.jobs.has(job_id)) throw new WardenError('handle_taken', `there is a job ${job_id} already`);
      const { depot, runtime } = this.#ground;
      const spec = this.processOf(request);
      const oom_kills_before = this.#cgroup.oomKills();
      const record = { job_id, oom_kills_before };
      depot.writeJob(this.handle, record);
      const job = this.#addJob(new Job({ ...this.#jobOptions(), record }));
      try {
        job.watch(await runtime.exec(this.handle, depot.jobFolder(this.handle, job_id), spec));
        return job;
      } catch (error) {
        job.giveUp();
        this.jobs.delete(job_id);
        depot.removeJob(this.handle, job_id);
        const words = error instanceof RuntimeError ? error.message : describeError(error);
        throw new WardenError('spawn_failed', `${request.args[0]}: ${words}`, { cause: error });
      }
    });
  }

  /** Errors: WardenError job_not_found. */
  job(job_id: string): Job {
    const job = this.jobs.get(job_id);
    if (!job) throw new WardenError('job_not_found', `container ${this.handle} has no job ${job_id}`);
    return job;
  }

  async *stream(job: Job, offset: number, signal: AbortSignal): AsyncGenerator<JobOutput> {
    yield* followLog(job.files.log, { offset, end: job.end, hasEnded: () => job.hasEnded, signal });
    if (!signal.aborted) yield await job.end;
  }

  async run(request: SpawnRequest, signal: AbortSignal): Promise<JobResult> {
    const job = await this.spawn(request);
    const written = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    const sizes = { stdout: 0, stderr: 0 };
    for await (const line of this.stream(job, 0, signal)) {
      if (!('name' in line) || sizes[line.name] > RUN_OUTPUT_MAX) continue;
      const text = Buffer.from(line.data, 'base64');
      sizes[line.name] += text.length + 1;
      written[line.name].push(text, Buffer.from(line.partial ? '' : '\n'));
    }
    const result = await job.end;
    // Nobody else knows of it.
    this.jobs.delete(job.job_id);
    this.#ground.depot.removeJob(this.handle, job.job_id);
    return {
      ...result,
      stdout: Buffer.concat(written.stdout).toString(),
      stderr: Buffer.concat(written.stderr).toString(),
    };
  }

  /** To the whole process group of the job. */
  signal(job: Job, signal: SignalName): void {
    // crun puts each job into a session of its own; its leader was crun itself and is gone.
    const group = job.pid === undefined ? undefined : groupOf(job.pid);
    if (group !== undefined) signalProcess(-group, `SIG${signal}`);
  }

  async stop(options: { grace_s: number; kill: boolean }): Promise<void> {
    await this.#exclusive(async () => {
      if (this.#record.state !== 'active') return;
      if (!options.kill) {
        this.#signalAll('SIGTERM');
        await this.#untilQuiet(options.grace_s * 1000, () => {});
      }
      const isQuiet = await this.#untilQuiet(KILL_PATIENCE_MS, () => this.#signalAll('SIGKILL'));
      if (!isQuiet) throw new WardenError('internal', `processes of ${this.handle} do not end`);
      await this.#jobsEnd();
      this.#save({ state: 'stopped' });
    });
  }

  async netIn(request: NetInRequest): Promise<PortMapping> {
    return await this.#exclusive(() => {
      this.mustRun();
      const { ports, firewall } = this.#ground;
      const host_port = ports.acquire(request.host_port);
      const mapping = { host_port, container_port: request.container_port ?? host_port };
      this.#save({ ports: [...this.#record.ports, mapping] });
      firewall.addPort(rulesOf(this.#ground, this.#record), mapping);
      return Promise.resolve(mapping);
    });
  }

  async netOut(net_out: EgressRule[]): Promise<void> {
    await this.#exclusive(() => {
      this.mustRun();
      this.#ground.firewall.check(rulesOf(this.#ground, { ...this.#record, net_out }));
      this.#save({ net_out });
      this.#ground.firewall.replaceRules(rulesOf(this.#ground, this.#record));
      return Promise.resolve();
    });
  }

  async limit(change: LimitRequest): Promise<ContainerLimits> {
    return await this.#exclusive(async () => {
      if (Object.values(change).every((value) => value === undefined)) return this.#record.limits;
      this.mustRun();
      const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
      try {
        this.#cgroup.setLimits(change);
        const { process, slot } = this.#record;
        if (change.bandwidth && process) {
          await limitBandwidth(process.pid, this.#ground.placeOf(slot), change.bandwidth);
        }
        if (change.disk_in_bytes !== undefined) await this.#ground.disks.setLimit(this.handle, change.disk_in_bytes);
      } catch (error) {
        throw new WardenError('invalid_request', `limits of ${this.handle}: ${describeError(error)}`, { cause: error });
      }
      this.#save({ limits: { ...this.#record.limits, ...given } });
      return this.#record.limits;
    });
  }

  /** Ends all that runs and takes all of it away; may be called again when it failed. */
  async destroy(options: { isRecovering: boolean } = { isRecovering: false }): Promise<void> {
    await this.#exclusive(async () => {
      this.#save({ state: 'destroying' });
      if (options.isRecovering) await endWorkOn(this.#ground, this.handle);
      await demolish(this.#ground, this.handle, this.#record.slot);
      await this.#jobsEnd();
      for (const job of this.jobs.values()) job.giveUp();
      const { depot, volumes } = this.#ground;
      depot.remove(this.handle);
      if (this.#record.bind_mounts.some(({ image }) => image))
        await volumes.unmountBut(depot.handles().flatMap((handle) => depot.read(handle)?.bind_mounts ?? []));
      this.close();
    });
  }

  /** Stops watching; the container lives on. */
  close(): void {
    for (const job of this.jobs.values()) job.close();
  }

  /** Errors: WardenError invalid_request for a user that the container does not have. */
  processOf(request: SpawnRequest) {
    const { limits } = this.#record;
    const user = userOf(request.user ?? 'vcap', join(this.#ground.mountsOf(this.handle), 'rootfs'));
    const wanted = request.rlimits ?? {};
    const nofile = Math.min(wanted.nofile ?? limits.nofile, this.#ground.max_open_files);
    const given = new Set((request.env ?? []).map((pair) => pair.slice(0, pair.indexOf('='))));
    const defaults = Object.entries(environmentOf(user)).filter(([name]) => !given.has(name));
    return processSpec({
      args: request.args,
      env: [...defaults.map(([name, value]) => `${name}=${value}`), ...(request.env ?? [])],
      cwd: request.cwd ?? '/home/vcap',
      user,
      rlimits: { ...wanted, nofile },
    });
  }

  #jobOptions() {
    const { depot, config } = this.#ground;
    return {
      depot,
      log_keep_bytes: config.job_log_keep_mb * 1024 * 1024,
      handle: this.handle,
      oomKills: () => {
        const kills = this.#cgroup.oomKills();
        this.#noteMemory(kills);
        return kills;
      },
    };
  }

  #addJob(job: Job): Job {
    this.jobs.set(job.job_id, job);
    return job;
  }

  #noteMemory(kills: number): void {
    const { events, state } = this.#record;
    if (kills > 0 && !events.includes(OUT_OF_MEMORY) && state !== 'destroying') {
      this.#save({ events: [...events, OUT_OF_MEMORY] });
    }
  }

  get #cgroup(): Cgroup {
    return this.#ground.cgroupOf(this.#record);
  }

  #isRunning(): boolean {
    const { process } = this.#record;
    return process !== undefined && isAlive(process);
  }

  /** Its first process. Errors: WardenError container_state. */
  mustRun(): number {
    const { state: wanted, process } = this.#record;
    if (wanted === 'active' && process && this.#isRunning()) return process.pid;
    const state = this.#record.state === 'active' ? 'dead' : this.#record.state;
    throw new WardenError('container_state', `container ${this.handle} is ${state}, not active`);
  }

  /** All processes but the first, which only reaps. */
  #processes(): number[] {
    const first = this.#record.process?.pid;
    return this.#cgroup.processes().filter((pid) => pid !== first);
  }

  #signalAll(signal: NodeJS.Signals): void {
    this.#cgroup.signalAll(signal, this.#record.process?.pid);
  }

  async #untilQuiet(patience_ms: number, each: () => void): Promise<boolean> {
    const { clock } = this.#ground;
    const deadline = clock.monotonic() + patience_ms;
    while (this.#processes().length > 0) {
      if (clock.monotonic() > deadline) return false;
      each();
      await clock.sleep(LOOK_MS);
    }
    return true;
  }

  /** Their processes are dead; conmon is about to say so. */
  async #jobsEnd(): Promise<void> {
    const patience = AbortSignal.timeout(STATUS_PATIENCE_MS);
    const late = new Promise((resolve) => patience.addEventListener('abort', resolve, { once: true }));
    await Promise.race([Promise.all([...this.jobs.values()].map((job) => job.end)), late]);
  }

  #save(change: Partial<ContainerRecord>): void {
    this.#record = { ...this.#record, ...change };
    this.#ground.depot.write(this.#record);
  }

  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => {});
    return await turn;
  }
}
