import { createHash, randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { Bus } from '#bus/bus.ts';
import { beatDigest } from '#contracts/beat-digest.ts';
import type { TaskResult } from '#contracts/cloud-controller.ts';
import {
  deaAdvertise,
  deaBeat,
  deaHeartbeat,
  deaLocate,
  deaShutdown,
  deaStart,
  deaStop,
  deaUpdate,
  deaUsage,
  dropletExited,
  type DropletExited,
  type HeartbeatInstance,
  type OrderReply,
  type StartMessage,
  type StopMessage,
} from '#contracts/dea.ts';
import { type StagingMessage, type StagingResult, stagingStart, stagingStop } from '#contracts/staging.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { silentLog } from '#kernel/log.ts';

export interface FakeDeaOptions {
  nats_url: string;
  /** Where builds and tasks are reported: the cloud controller's internal face and its login. */
  cc: { url: string; user: string; password: string };
  memory_mb?: number;
  disk_mb?: number;
  zone?: string;
  isolation_segment?: string;
  stacks?: readonly string[];
  /** Process types of what it stages. */
  process_types?: Record<string, string>;
}

interface Running {
  message: StartMessage;
  beat: HeartbeatInstance;
}

/**
 * A DEA without containers, for tests of those that talk to one: it advertises, stages (downloads the package and uploads a
 * droplet), starts, beats, updates routes, stops, and crashes when told to, all over the real bus and HTTP.
 */
export class FakeDea implements AsyncDisposable {
  readonly id = randomUUID();
  readonly staged: StagingMessage[] = [];
  readonly started: StartMessage[] = [];
  /** Routes as `dea.update` or the start said them last, by process. */
  readonly uris = new Map<string, readonly string[]>();
  /** Of the process, as told last. */
  readonly routeOptions = new Map<string, StartMessage['route_options']>();
  readonly stops: StopMessage[] = [];
  /** Instances become RUNNING at once; false leaves them STARTING until `run`. */
  isPrompt = true;
  /** What the next stagings end with; staged by default. */
  stagingError: { code: 'BuildpackCompileFailed' | 'NoAppDetectedError' | 'StagingError'; message: string } | undefined;
  /** False: takes stagings and never ends them. */
  endsStaging = true;
  /** Refuses every order. */
  refusal: { code: string; message: string } | undefined;
  readonly #options: Required<Pick<FakeDeaOptions, 'memory_mb' | 'disk_mb' | 'zone' | 'stacks' | 'process_types'>> &
    FakeDeaOptions;
  readonly #bus: Bus;
  readonly #run = randomUUID();
  #seq = 0;
  #digest = beatDigest([]);
  readonly #running = new Map<string, Running>();
  readonly #stack = new DisposableStack();
  readonly #work = new Set<Promise<void>>();

  private constructor(bus: Bus, options: FakeDeaOptions) {
    this.#bus = bus;
    this.#options = {
      memory_mb: 16_384,
      disk_mb: 65_536,
      zone: 'z1',
      stacks: ['cflinuxfs4'],
      process_types: { web: 'run-web' },
      ...options,
    };
  }

  static async start(options: FakeDeaOptions): Promise<FakeDea> {
    const bus = await Bus.connect({ servers: [options.nats_url], name: 'fake-dea', log: silentLog });
    const dea = new FakeDea(bus, options);
    dea.#listen();
    await bus.flush();
    dea.advertise();
    return dea;
  }

  get instances(): HeartbeatInstance[] {
    return [...this.#running.values()].map(({ beat }) => beat);
  }

  instancesOf(process_guid: string): HeartbeatInstance[] {
    return this.instances.filter((beat) => beat.droplet === process_guid);
  }

  advertise(): void {
    const { memory_mb, disk_mb, zone, stacks, isolation_segment } = this.#options;
    const app_id_to_count: Record<string, number> = {};
    let used_memory = 0;
    let used_disk = 0;
    for (const { message } of this.#running.values()) {
      app_id_to_count[message.droplet] = (app_id_to_count[message.droplet] ?? 0) + 1;
      used_memory += message.limits.mem;
      used_disk += message.limits.disk;
    }
    this.#bus.publish(deaAdvertise, {
      id: this.id,
      ip: '127.0.0.1',
      version: 'test',
      stacks: [...stacks],
      available_memory: memory_mb - used_memory,
      available_disk: disk_mb - used_disk,
      app_id_to_count,
      placement_properties: { zone, ...(isolation_segment !== undefined && { isolation_segment }) },
    });
  }

  beat(full = true): void {
    const droplets = this.instances;
    const time = new Date().toISOString();
    this.#bus.publish(deaHeartbeat, {
      dea: this.id,
      run: this.#run,
      // Each list is said whole.
      seq: full ? ++this.#seq : this.#seq,
      digest: full ? (this.#digest = beatDigest(droplets)) : this.#digest,
      ...(full && { droplets }),
    });
    this.#bus.publish(deaUsage, {
      dea: this.id,
      usage: Object.fromEntries(
        droplets.map(({ instance }) => [
          instance,
          { cpu: 0.25, cpu_entitlement: 0.5, mem: 1024, disk: 2048, log_rate: 0, time },
        ]),
      ),
    });
  }

  /** Makes an instance that starts RUNNING (and routable unless said otherwise). */
  run(instance: string, routable = true): void {
    const held = this.#running.get(instance);
    if (!held) return;
    held.beat = { ...held.beat, state: 'RUNNING', routable, state_timestamp: Math.floor(Date.now() / 1000) };
    this.beat();
  }

  crash(
    instance: string,
    exit: { status: number; description: string } = { status: 1, description: 'app instance exited' },
  ): void {
    this.#exit(instance, 'CRASHED', exit);
  }

  /** Says that it takes no more work, and keeps what runs. */
  shutdown(): void {
    this.#bus.publish(deaShutdown, { id: this.id, ip: '127.0.0.1', version: 'test', app_id_to_count: {} });
  }

  /** Reports the end of a task that was started here. Returns the status of the answer. */
  async endTask(task_guid: string, result: TaskResult): Promise<number> {
    for (const [instance, { message }] of this.#running)
      if (message.droplet === task_guid) this.#running.delete(instance);
    return await this.#post(`/internal/tasks/${task_guid}/completed`, result);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stack.dispose();
    await Promise.all(this.#work);
    await this.#bus[Symbol.asyncDispose]();
  }

  #listen(): void {
    const bus = this.#bus;
    this.#stack.use(bus.subscribe(deaLocate, () => this.advertise()));
    this.#stack.use(
      bus.subscribe(deaBeat, ({ dea }) => {
        if (dea === undefined || dea === this.id) this.beat();
      }),
    );
    this.#stack.use(bus.reply(deaStart(this.id), (message) => this.#start(message)));
    this.#stack.use(bus.subscribe(deaStop, (message) => this.#stop(message)));
    this.#stack.use(
      bus.subscribe(deaUpdate, ({ droplet, uris, route_options }) => {
        this.uris.set(droplet, uris);
        this.routeOptions.set(droplet, route_options);
      }),
    );
    this.#stack.use(bus.reply(stagingStart(this.id), (message) => this.#stage(message)));
    this.#stack.use(bus.subscribe(stagingStop, () => {}));
    const adverts = setInterval(() => this.advertise(), 1_000);
    const beats = setInterval(() => this.beat(false), 500);
    this.#stack.defer(() => {
      clearInterval(adverts);
      clearInterval(beats);
    });
  }

  #start(message: StartMessage): OrderReply {
    if (this.refusal) return { accepted: false, error: this.refusal };
    if (this.#running.has(message.instance)) return { accepted: true };
    this.started.push(message);
    this.uris.set(message.droplet, message.uris);
    const { droplet, app, version, instance, index, cc_partition } = message;
    const state = this.isPrompt ? ('RUNNING' as const) : ('STARTING' as const);
    const beat: HeartbeatInstance = {
      cc_partition,
      droplet,
      app,
      version,
      instance,
      index,
      state,
      state_timestamp: Math.floor(Date.now() / 1000),
      routable: this.isPrompt,
      host: '127.0.0.1',
      port: 61_000,
      container_ip: '10.254.0.2',
    };
    this.#running.set(instance, { message, beat });
    if (message.kind === 'LRP') this.beat();
    return { accepted: true };
  }

  #stop(message: StopMessage): void {
    this.stops.push(message);
    for (const [instance, { beat }] of this.#running) {
      const isMeant =
        beat.droplet === message.droplet &&
        (message.version === undefined || message.version === beat.version) &&
        (message.instances === undefined || message.instances.includes(instance)) &&
        (message.indices === undefined || message.indices.includes(beat.index)) &&
        (message.states === undefined || message.states.includes(beat.state));
      if (isMeant) this.#exit(instance, 'STOPPED', { status: 0, description: '' });
    }
  }

  #exit(instance: string, reason: DropletExited['reason'], exit: { status: number; description: string }): void {
    const held = this.#running.get(instance);
    if (!held) return;
    this.#running.delete(instance);
    const { droplet, app, version, index, cc_partition } = held.beat;
    this.#bus.publish(dropletExited, {
      cc_partition,
      dea: this.id,
      droplet,
      app,
      version,
      instance,
      index,
      reason,
      exit_status: exit.status,
      exit_description: exit.description,
      ...(reason === 'CRASHED' && {
        crash_timestamp: Math.floor(Date.now() / 1000),
        last_output: [`last words of ${instance}`],
      }),
    });
    this.beat();
    if (held.message.kind === 'TASK') {
      const result = { failed: true, failure_reason: 'task was stopped', exit_status: 143 };
      this.#background(async () => void (await this.#post(`/internal/tasks/${droplet}/completed`, result)));
    }
  }

  #stage(message: StagingMessage): OrderReply {
    if (this.refusal) return { accepted: false, error: this.refusal };
    this.staged.push(message);
    if (this.endsStaging) this.#background(async () => await this.#endStaging(message));
    return { accepted: true };
  }

  async #endStaging(message: StagingMessage): Promise<void> {
    const path = `/internal/staging/${message.task_id}/completed`;
    const failed = (
      code: 'StagingError' | 'BuildpackCompileFailed' | 'NoAppDetectedError',
      text: string,
    ): StagingResult => ({
      outcome: 'failed',
      dea: this.id,
      error: { code, message: text },
    });
    if (this.stagingError) {
      await this.#post(path, failed(this.stagingError.code, this.stagingError.message));
      return;
    }
    const isImage = message.docker !== undefined;
    const bits = isImage ? Buffer.from('image') : Buffer.from(await (await fetch(message.package_uri)).arrayBuffer());
    if (!isImage && sha256(bits) !== message.package_sha256) {
      await this.#post(path, failed('StagingError', 'the package is not what was promised'));
      return;
    }
    const droplet = gzipSync(bits);
    const uploaded = await fetch(message.droplet_upload_uri, { method: 'PUT', body: droplet });
    if (!uploaded.ok) {
      await this.#post(path, failed('StagingError', `the droplet was refused: ${uploaded.status}`));
      return;
    }
    const [buildpack] = message.buildpacks;
    await this.#post(path, {
      outcome: 'staged',
      dea: this.id,
      droplet_sha256: sha256(droplet),
      droplet_size: droplet.length,
      process_types: this.#options.process_types,
      buildpacks: buildpack
        ? [{ key: buildpack.key, name: buildpack.name, detect_output: 'fake', version: '1.0.0' }]
        : [],
      execution_metadata: isImage ? JSON.stringify({ ports: [{ Port: 9000, Protocol: 'tcp' }] }) : '',
    } satisfies StagingResult);
  }

  async #post(path: string, body: unknown): Promise<number> {
    const { url, user, password } = this.#options.cc;
    const response = await fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: basicAuthHeader({ user, password }) },
      body: JSON.stringify(body),
    });
    await response.text();
    return response.status;
  }

  #background(work: () => Promise<void>): void {
    // A cloud controller that is away is what some tests are about.
    const run = work().catch(() => {});
    this.#work.add(run);
    void run.finally(() => this.#work.delete(run));
  }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
