import { join } from 'node:path';
import type { EnvelopeOrigin, LogEmitter } from '#bus/log-emitter.ts';
import type { OrderReply } from '#contracts/dea.ts';
import type { StagingMessage, StagingResult } from '#contracts/staging.ts';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Amount, Capacity } from '../capacity.ts';
import { destroyContainer } from '../destroy-container.ts';
import { ImageBuild } from '../docker/image-build.ts';
import type { Reports } from '../reports.ts';
import { Build, stagingHandle, type BuildDependencies } from './build.ts';
import { StagingFailed } from './staging-error.ts';

export interface StagerOptions extends Omit<BuildDependencies, 'say' | 'work_dir'> {
  base_dir: string;
  capacity: Capacity;
  reports: Reports;
  emitter: LogEmitter;
}

type Message = StagingMessage;

interface Job {
  message: Message;
  amount: Amount;
  abort: AbortController;
  done: Promise<void>;
}

const ROOM_RETRY_MS = 500;

class Stopped extends AppError {
  constructor() {
    super('staging_stopped', 'Staging error: staging was stopped');
  }
}

class TimeExpired extends AppError {
  constructor() {
    super('staging_time_expired', 'Staging time expired');
  }
}

class DeaLeaves extends AppError {
  constructor() {
    super('dea_leaves', 'Staging error: the cell was stopped');
  }
}

/** Takes builds, runs some at a time while others wait, and sees to it that each one's end is told. */
export class Stager implements AsyncDisposable {
  readonly #options: StagerOptions;
  readonly #jobs = new Map<string, Job>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: StagerOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#jobs.size;
  }

  /** Containers in use, for the reaper. */
  get handles(): string[] {
    return [...this.#jobs.keys()].map(stagingHandle);
  }

  /** Reserves if it can begin at once, notes it on disk, and begins when it is its turn. The same build twice is one. */
  async order(message: Message): Promise<OrderReply> {
    const { config, capacity, reports } = this.#options;
    if (this.#jobs.has(message.task_id)) return { accepted: true };
    if (!config.stacks.includes(message.stack)) {
      return refusal('unknown_stack', `This cell does not have the stack ${message.stack}.`);
    }
    const amount = {
      memory_mb: Math.max(message.memory_limit_mb, config.staging.memory_limit_mb),
      disk_mb: Math.max(message.disk_limit_mb, config.staging.disk_limit_mb),
    };
    // One that has to wait takes nothing yet, or a few that wait would keep all others out.
    const isNow = this.#hasTurn && message.waits_for_room !== true;
    const lacks = isNow ? this.#lack(message.task_id, amount) : capacity.neverHas(amount);
    if (lacks) return refusal('insufficient_resources', `Not enough ${lacks} resource available.`);
    const abort = new AbortController();
    const job: Job = { message, amount, abort, done: Promise.resolve() };
    this.#jobs.set(message.task_id, job);
    await reports.expect(message.task_id);
    job.done = this.#carryOut(job).finally(() => {
      this.#jobs.delete(message.task_id);
      capacity.release(stagingHandle(message.task_id)); // of one that was stopped before its turn
    });
    return { accepted: true };
  }

  stop(filter: { app?: string | undefined; task_id?: string | undefined }): void {
    for (const { message, abort } of this.#jobs.values()) {
      const isMeant =
        message.task_id === filter.task_id || (filter.task_id === undefined && message.app === filter.app);
      if (isMeant) abort.abort(new Stopped());
    }
  }

  /** Tells the end of builds that were under way when this process was killed, and clears away after them. */
  async recover(task_ids: readonly string[]): Promise<void> {
    const { dea, reports } = this.#options;
    const error = { code: 'StagingError' as const, message: 'Staging error: the cell was restarted during staging' };
    for (const guid of task_ids) {
      await reports.send({ kind: 'staging', guid, result: { outcome: 'failed', dea, error } });
      await destroyContainer(this.#options, stagingHandle(guid));
    }
  }

  /** Resolves when no build is left. */
  async idle(): Promise<void> {
    while (this.#jobs.size > 0) await Promise.all([...this.#jobs.values()].map(async (job) => await job.done));
  }

  /** Ends all builds, as failed: none can go on without us. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { abort } of this.#jobs.values()) abort.abort(new DeaLeaves());
    await this.idle();
  }

  async #carryOut(job: Job): Promise<void> {
    const { message, abort } = job;
    const { dea, config, clock, log, reports, emitter, base_dir } = this.#options;
    const say: BuildDependencies['say'] = (text, type = 'OUT', timestamp_ns) => {
      const written = timestamp_ns === undefined ? {} : { timestamp_ns };
      emitter.emit({ ...stagingSource(message), type, payload: text, ...written });
    };
    const work_dir = join(base_dir, 'staging', message.task_id);
    let result: StagingResult;
    const queued_ms = clock.monotonic();
    let timer: NodeJS.Timeout | undefined;
    try {
      await this.#turn(job);
      const timeout_s = Math.min(message.timeout_s, config.staging.max_staging_duration_s);
      timer = setTimeout(() => abort.abort(new TimeExpired()), timeout_s * 1000);
      const need = { ...this.#options, work_dir, say };
      const { docker } = message;
      const build = docker
        ? new ImageBuild({ message, docker }, need, abort.signal)
        : new Build(message, need, abort.signal);
      log.info(
        { task_id: message.task_id, app: message.app, queued_ms: Math.round(clock.monotonic() - queued_ms) },
        'staging begun',
      );
      try {
        const { sha256, size, process_types, buildpacks, execution_metadata } = await build.run();
        result = {
          outcome: 'staged',
          dea,
          droplet_sha256: sha256,
          droplet_size: size,
          process_types,
          buildpacks,
          execution_metadata,
        };
      } catch (error) {
        throw abort.signal.reason instanceof TimeExpired
          ? new StagingFailed(
              'StagingTimeExpired',
              `Staging time expired while ${build.phases.current} (limit ${timeout_s}s)`,
            )
          : error;
      } finally {
        this.#options.capacity.release(stagingHandle(message.task_id));
        this.#nextTurn();
      }
    } catch (error) {
      result = { outcome: 'failed', dea, error: errorOf(error) };
      say(result.error.message, 'ERR');
      log.warn({ task_id: message.task_id, app: message.app, error: describeError(error) }, 'staging failed');
    } finally {
      clearTimeout(timer);
    }
    await emitter.flush();
    log.info({ task_id: message.task_id, outcome: result.outcome }, 'staging ended');
    await reports.send({ kind: 'staging', guid: message.task_id, result });
  }

  get #hasTurn(): boolean {
    return this.#running < this.#options.config.staging.max_concurrent;
  }

  /** What there is too little of for a build; undefined when it has what it needs. */
  #lack(task_id: string, amount: Amount): 'memory' | 'disk' | undefined {
    const reserved = this.#options.capacity.reserve(stagingHandle(task_id), amount);
    return reserved.ok ? undefined : reserved.lacks;
  }

  /**
   * Waits in the order of coming, and then until there is room. Rejects with the signal's reason when the build is stopped while it
   * waits.
   */
  async #turn({ message, amount, abort: { signal } }: Job): Promise<void> {
    signal.throwIfAborted();
    // Whoever calls us leaves its place to us.
    if (this.#hasTurn) this.#running++;
    else await this.#untilCalled(signal);
    try {
      while (this.#lack(message.task_id, amount)) await this.#options.clock.sleep(ROOM_RETRY_MS, signal);
    } catch (error) {
      this.#nextTurn();
      throw error;
    }
  }

  async #untilCalled(signal: AbortSignal): Promise<void> {
    const called = Promise.withResolvers<void>();
    const quit = (): void => {
      const at = this.#waiting.indexOf(called.resolve);
      if (at >= 0) this.#waiting.splice(at, 1);
      called.reject(signal.reason as Error);
    };
    signal.addEventListener('abort', quit, { once: true });
    this.#waiting.push(called.resolve);
    await called.promise;
    signal.removeEventListener('abort', quit);
  }

  #nextTurn(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#running--;
  }
}

function errorOf(error: unknown): Extract<StagingResult, { outcome: 'failed' }>['error'] {
  if (error instanceof StagingFailed) return { code: error.staging_code, message: error.message };
  if (error instanceof Stopped || error instanceof DeaLeaves) return { code: 'StagingError', message: error.message };
  if (error instanceof AppError && error.code === 'resources_exhausted') {
    return { code: 'InsufficientResources', message: 'Insufficient resources for staging' };
  }
  const why = error instanceof AppError ? error.message : 'internal error of the cell';
  return { code: 'StagingError', message: `Staging error: ${why}` };
}

function stagingSource(message: Message): EnvelopeOrigin {
  return {
    source_id: message.app,
    instance_id: '0',
    source_type: 'STG',
    tags: {
      instance_id: '0',
      app_id: message.app,
      app_name: message.app_name,
      space_name: message.space_name,
      organization_name: message.organization_name,
    },
  };
}

function refusal(code: string, message: string): OrderReply {
  return { accepted: false, error: { code, message } };
}
