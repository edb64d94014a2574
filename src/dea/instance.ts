import { describeError } from '#kernel/errors.ts';
import type { ExitReason, HeartbeatInstance, InstanceState, StartMessage, UpdateMessage } from '#contracts/dea.ts';
import type { JobResult } from '#contracts/warden.ts';
import { containerRequest } from './container-request.ts';
import { destroyContainer } from './destroy-container.ts';
import { instanceEnvironment } from './environment.ts';
import type { Endpoint } from './health-check.ts';
import { watchHealth } from './health-watch.ts';
import type { InstanceDependencies, InstanceExit } from './instance-dependencies.ts';
import { InstanceLog } from './instance-log.ts';
import { DeaRestarted, describeFailedStart, MissingStartCommand, sayable } from './instance-errors.ts';
import { identityOf } from './identity/identities.ts';
import { InstanceRoot } from './instance-root.ts';
import { awaitEnd, followOutput, UNKNOWN_END } from './job-output.ts';
import { launchRequest } from './launcher.ts';
import type { InstanceRecord } from './store.ts';

/** How a life ends: by itself, by failing its check, by order, or before it began. */
type End =
  | { how: 'exited'; job_id: string; result: JobResult }
  | { how: 'unhealthy'; why: string; description: string }
  | { how: 'stopped' }
  | { how: 'failed'; description: string; error: unknown };

const MAIN_JOB = 'app';
const OUTPUT_DRAIN_MS = 3000;
const LAST_WORDS_MS = 100;
/** Between unregistering and TERM: what routers have sent on already may still be answered. */
const ROUTE_DRAIN_MS = 250;

/**
 * One instance or task, from its order to the end of its container. It never starts anything again: whether it comes back is
 * the health manager's and the cloud controller's to say.
 */
export class Instance {
  readonly #record: InstanceRecord;
  readonly #need: InstanceDependencies;
  readonly #origin: 'start' | 'adopt';
  readonly #log: InstanceLog;
  readonly #root: InstanceRoot;
  readonly #stopping = new AbortController();
  readonly #over = new AbortController();
  readonly #finished = Promise.withResolvers<void>();
  #stopReason: ExitReason = 'STOPPED';
  readonly #follows = new Map<string, Promise<void>>();
  #isLetGo = false;

  private constructor(record: InstanceRecord, need: InstanceDependencies, origin: 'start' | 'adopt') {
    this.#record = record;
    this.#origin = origin;
    this.#need = need;
    this.#log = new InstanceLog(record.start, need);
    this.#root = new InstanceRoot(record.start, need);
  }

  /** An instance that is to be started now. */
  static begin(start: StartMessage, need: InstanceDependencies): Instance {
    const now_ms = need.clock.now();
    const record: InstanceRecord = {
      start,
      state: 'STARTING',
      state_timestamp: now_ms / 1000,
      handle: start.instance,
      started_at_ms: now_ms,
      is_ready: start.readiness_health_check === undefined || start.readiness_health_check.type === 'process',
      log_offsets: {},
    };
    return new Instance(record, need, 'start');
  }

  /** One that was there before this process: its container may run on, or be gone. */
  static adopt(record: InstanceRecord, need: InstanceDependencies): Instance {
    const instance = new Instance(record, need, 'adopt');
    instance.#root.hold(record.image);
    if (record.state === 'STOPPING') instance.#stopping.abort();
    return instance;
  }

  /** Begins its life; called once, when it is known to whoever will be told of it. */
  go(): void {
    void this.#live(async () => {
      if (this.#origin === 'start') return await this.#start();
      // How far a start had come is not known, unless all its jobs are known to have begun.
      if (this.state === 'STARTING' && Object.keys(this.#record.log_offsets).length <= this.start.sidecars.length)
        return { how: 'failed', description: 'cannot be determined', error: new DeaRestarted() };
      this.#followAll();
      return await this.#run();
    });
  }

  get record(): InstanceRecord {
    return this.#record;
  }

  get start(): StartMessage {
    return this.#record.start;
  }

  get state(): InstanceState {
    return this.#record.state;
  }

  get log(): InstanceLog {
    return this.#log;
  }

  /** Resolves when nothing of it is left. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  get isRoutable(): boolean {
    const { state, is_ready } = this.#record;
    return (state === 'RUNNING' || state === 'EVACUATING') && is_ready && this.start.kind === 'LRP';
  }

  /** Of its processes, as "K=V"; known once its container is there. */
  environment(): string[] {
    const { start, network, started_at_ms, image, has_identity = false } = this.#record;
    const { container_ip = '', ports = [] } = network ?? {};
    const facts = { host_ip: this.#need.dea.ip, container_ip, ports, started_at_ms, has_identity };
    return instanceEnvironment(start, facts, image?.config);
  }

  describe(): HeartbeatInstance {
    const { start, state, state_timestamp, network } = this.#record;
    const port = network?.ports[0]?.host_port;
    return {
      cc_partition: start.cc_partition,
      droplet: start.droplet,
      app: start.app,
      version: start.version,
      instance: start.instance,
      index: start.index,
      state,
      state_timestamp,
      routable: this.isRoutable,
      host: this.#need.dea.ip,
      ...(port !== undefined && { port }),
      ...(network && { container_ip: network.container_ip }),
    };
  }

  /** Unregisters, TERM, and after the grace KILL. Resolves when it is gone. */
  async stop(reason: ExitReason = 'STOPPED'): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopReason = reason;
      this.#stopping.abort();
      await this.#become('STOPPING');
    }
    await this.finished;
  }

  /** Watches no more and lets it run on, for our next start to adopt. */
  letGo(): void {
    this.#isLetGo = true;
    this.#over.abort();
  }

  async markEvacuating(): Promise<void> {
    if (this.state === 'RUNNING') await this.#become('EVACUATING');
  }

  async updateRoutes({ uris, internal_uris, route_options }: UpdateMessage): Promise<void> {
    const { route_options: _before, ...start } = this.start;
    this.#record.start = { ...start, uris, internal_uris, ...(route_options && { route_options }) };
    await this.#need.changed(this);
  }

  async #live(life: () => Promise<End>): Promise<void> {
    let end: End;
    try {
      end = await life();
    } catch (error) {
      end = this.#stopping.signal.aborted
        ? { how: 'stopped' }
        : { how: 'failed', description: describeFailedStart(error), error };
    }
    if (this.#isLetGo) return;
    try {
      await this.#end(end);
    } catch (error) {
      this.#need.log.error(
        { instance: this.start.instance, error: describeError(error) },
        'instance could not be ended',
      );
    } finally {
      this.#over.abort();
      this.#finished.resolve();
    }
  }

  async #start(): Promise<End> {
    const { start, handle } = this.#record;
    const { settings, dea, identities } = this.#need;
    this.#log.cell(`Cell ${dea.id} creating container for instance ${start.instance}`);
    await this.#need.changed(this);
    if (start.start_command === '') throw new MissingStartCommand();
    const { image, ...root } = await this.#root.acquire(AbortSignal.any([this.#stopping.signal, this.#over.signal]));
    if (image) this.#record.image = image;
    const bind_mounts = [...root.bind_mounts, ...((await identities?.mounts(start.instance)) ?? [])];
    const facts = { handle, ...root, bind_mounts, dea: dea.id, settings };
    const created = await this.#need.warden.create(containerRequest(start, facts));
    this.#log.cell(`Cell ${dea.id} successfully created container for instance ${start.instance}`);
    this.#record.network = { host_ip: created.host_ip, container_ip: created.container_ip, ports: created.ports };
    if (identities) {
      await identities.give(identityOf(start, created.container_ip));
      this.#record.has_identity = true;
    }
    await this.#need.changed(this); // whom it may reach is told before it asks
    this.#stopping.signal.throwIfAborted();
    await this.#spawnAll();
    return await this.#run();
  }

  async #spawnAll(): Promise<void> {
    const { start, handle, image } = this.#record;
    const env = this.environment();
    const jobs = [{ job_id: MAIN_JOB, command: start.start_command }];
    for (const [n, sidecar] of start.sidecars.entries())
      jobs.push({ job_id: `sidecar-${n}`, command: sidecar.command });
    for (const { job_id, command } of jobs) {
      await this.#need.warden.spawn(handle, {
        ...launchRequest(command, image?.config),
        env,
        job_id,
        rlimits: { nofile: start.limits.fds },
      });
      this.#record.log_offsets[job_id] = 0;
    }
    this.#followAll();
    await this.#need.changed(this);
  }

  /** From here on its jobs run: until one ends, a check fails, or it is told to stop. */
  async #run(): Promise<End> {
    const { warden, clock } = this.#need;
    const { handle } = this.#record;
    const signal = this.#over.signal;
    const ends = Object.keys(this.#record.log_offsets).map(async (job_id): Promise<End> => {
      return { how: 'exited', job_id, result: await awaitEnd({ warden, clock, handle, job_id, signal }) };
    });
    const stopped = new Promise<End>((resolve) => {
      const stop = (): void => resolve({ how: 'stopped' });
      if (this.#stopping.signal.aborted) stop();
      this.#stopping.signal.addEventListener('abort', stop, { once: true });
    });
    const lost = Promise.withResolvers<End>();
    for (const end of ends) end.catch((error: unknown) => void (signal.aborted || lost.reject(error)));
    if (this.start.kind === 'TASK') {
      await this.#become('RUNNING');
      return await Promise.race([...ends, stopped, lost.promise]);
    }
    // A probe that comes back after the end must not make it RUNNING, and routed to, once more.
    const watching = new AbortController();
    const watched = this.#watch(watching.signal);
    return await Promise.race([...ends, stopped, lost.promise, watched]).finally(() => watching.abort());
  }

  async #watch(ended: AbortSignal): Promise<End> {
    const { clock, settings } = this.#need;
    const failure = await watchHealth({
      check: this.start.health_check,
      readiness_check: this.start.readiness_health_check,
      timeout_s: this.start.health_check.timeout_s ?? settings.health_check_timeout_s,
      endpoint: this.#endpoint(),
      isStarting: this.state === 'STARTING',
      clock,
      log: this.#log,
      quit: AbortSignal.any([this.#over.signal, this.#stopping.signal, ended]),
      healthy: async () => {
        const duration_ms = Math.round(clock.now() - this.#record.started_at_ms);
        this.#need.log.info({ instance: this.start.instance, duration_ms }, 'instance running');
        await this.#become('RUNNING');
      },
      ready: async (is_ready) => {
        this.#record.is_ready = is_ready;
        await this.#need.changed(this);
      },
    });
    return { how: 'unhealthy', ...failure };
  }

  async #end(end: End): Promise<void> {
    const exit = end.how === 'stopped' ? await this.#stopJobs() : await this.#report(end);
    const isCrash = exit.reason === 'CRASHED';
    if (isCrash) this.#record.state = 'CRASHED';
    this.#need.exited(this, exit);
    if (end.how === 'unhealthy') this.#log.app(`Instance is unhealthy: ${end.why}`, 'ERR');
    if (end.how === 'failed') {
      this.#log.cell(`Failed to start instance ${this.start.instance}: ${sayable(end.error)}`, 'ERR');
      this.#need.log.warn(
        { instance: this.start.instance, error: describeError(end.error) },
        'instance failed to start',
      );
    }
    await this.#clearAway(end.how === 'stopped', end.how === 'exited' ? end.result : undefined);
  }

  /** Its last words are on their way from the container; a restart does not wait long for them. */
  async #report(end: Exclude<End, { how: 'stopped' }>): Promise<InstanceExit> {
    if (end.how === 'exited') {
      await Promise.race([this.#follows.get(end.job_id), this.#need.clock.sleep(LAST_WORDS_MS, this.#over.signal)]);
    }
    return { ...this.#judge(end), last_output: this.#log.lastOutput };
  }

  #judge(end: Exclude<End, { how: 'stopped' }>): InstanceExit {
    if (end.how === 'exited') {
      const { exit_status, oom } = end.result;
      const name = this.#log.nameOf(end.job_id);
      const why = oom ? ' (out of memory)' : '';
      const isKnown = exit_status !== UNKNOWN_END.exit_status;
      const exit_description = isKnown ? `${name}: Exited with status ${exit_status}${why}` : 'cannot be determined';
      return { reason: 'CRASHED', exit_status, exit_description };
    }
    return { reason: 'CRASHED', exit_status: -1, exit_description: end.description };
  }

  async #stopJobs(): Promise<InstanceExit> {
    const { settings, clock, warden, dea } = this.#need;
    const { handle, network, start } = this.#record;
    if (network) {
      this.#log.cell(`Cell ${dea.id} stopping instance ${start.instance}`);
      if (start.uris.length > 0 && start.ports.length > 0) await clock.sleep(ROUTE_DRAIN_MS);
      const grace_s = Math.min(
        settings.max_graceful_shutdown_s,
        start.graceful_shutdown_s ?? settings.graceful_shutdown_s,
      );
      const from_ms = clock.monotonic();
      await warden.stop(handle, { grace_s }).catch((error: unknown) => {
        this.#need.log.warn({ handle, error: describeError(error) }, 'container could not be stopped');
      });
      if (grace_s > 0 && clock.monotonic() - from_ms >= grace_s * 1000) {
        this.#log.cell(`Instance ${start.instance} did not stop within ${grace_s}s of SIGTERM and was killed`, 'ERR');
      }
    }
    const result = network ? await this.#resultOfMainJob() : UNKNOWN_END;
    return { reason: this.#stopReason, exit_status: result.exit_status, exit_description: 'stopped' };
  }

  async #resultOfMainJob(): Promise<JobResult> {
    if (this.#record.log_offsets[MAIN_JOB] === undefined) return UNKNOWN_END;
    const { warden, clock } = this.#need;
    const signal = AbortSignal.any([this.#over.signal, AbortSignal.timeout(OUTPUT_DRAIN_MS)]);
    return await awaitEnd({ warden, clock, handle: this.#record.handle, job_id: MAIN_JOB, signal }).catch(
      () => UNKNOWN_END,
    );
  }

  async #clearAway(isStopped: boolean, result: JobResult | undefined): Promise<void> {
    const { dea, clock, warden } = this.#need;
    const { start, handle, network } = this.#record;
    // Sidecars, and what fails its check, run on until they are killed; only then has their output an end.
    if (network && !isStopped) await warden.stop(handle, { kill: true }).catch(() => {});
    // The last words come before the line that says it is over.
    await Promise.race([Promise.all(this.#follows.values()), clock.sleep(OUTPUT_DRAIN_MS, this.#over.signal)]);
    if (result) this.#log.app(`Exit status ${result.exit_status}${result.oom ? ' (out of memory)' : ''}`);
    this.#log.cell(`Cell ${dea.id} destroying container for instance ${start.instance}`);
    await destroyContainer(this.#need, handle);
    await this.#need.identities?.forget(start.instance);
    this.#log.cell(`Cell ${dea.id} successfully destroyed container for instance ${start.instance}`);
    this.#root.release();
  }

  #endpoint(): Endpoint | undefined {
    const { network } = this.#record;
    const port = network?.ports[0]?.container_port;
    return network && port !== undefined ? { host: network.container_ip, port } : undefined;
  }

  #followAll(): void {
    const { warden, clock } = this.#need;
    const { handle, log_offsets } = this.#record;
    for (const [job_id, offset] of Object.entries(log_offsets)) {
      const options = { warden, clock, handle, job_id, offset, signal: this.#over.signal };
      const followed = followOutput(options, ({ stream, line, timestamp_ns }, next) => {
        this.#log.output(job_id, stream, line, timestamp_ns);
        log_offsets[job_id] = next;
      }).catch((error: unknown) => {
        if (this.#over.signal.aborted) return;
        this.#need.log.warn({ instance: this.start.instance, job_id, error: describeError(error) }, 'output lost');
      });
      this.#follows.set(job_id, followed);
    }
  }

  async #become(state: InstanceState): Promise<void> {
    if (this.#record.state === state) return;
    this.#record.state = state;
    this.#record.state_timestamp = this.#need.clock.now() / 1000;
    await this.#need.changed(this);
  }
}
