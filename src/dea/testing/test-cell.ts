import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bus } from '#bus/bus.ts';
import {
  deaAdvertise,
  deaHeartbeat,
  deaStart,
  deaUsage,
  dropletExited,
  type DeaAdvertise,
  type DeaHeartbeat,
  type HeartbeatInstance,
  type InstanceUsage,
  type DropletExited,
  type OrderReply,
  type StartMessage,
} from '#contracts/dea.ts';
import { allEnvelopes, type Envelope } from '#contracts/loggregator.ts';
import { routerRegister, routerUnregister, type RouteMessage } from '#contracts/router.ts';
import { stagingStart, type StagingMessage } from '#contracts/staging.ts';
import { silentLog } from '#kernel/log.ts';
import { ComponentProcess } from '#testing/component-process.ts';
import { TestNats } from '#testing/nats.ts';
import { TestWarden } from '#testing/warden.ts';
import { INTERNAL_API, SimulatedController } from './simulated-controller.ts';

/** All that is heard on the bus, in the order it came. */
export interface Heard {
  beats: DeaHeartbeat[];
  /** What beats say that is held, and the last figures of it, by instance. */
  held: Map<string, HeartbeatInstance>;
  usage: Map<string, InstanceUsage>;
  advertisements: DeaAdvertise[];
  exits: DropletExited[];
  registered: RouteMessage[];
  unregistered: RouteMessage[];
  envelopes: Envelope[];
}

/** A DEA in a process of its own, with a real warden and a real NATS, and a simulated cloud controller. */
export class TestCell implements AsyncDisposable {
  readonly nats: TestNats;
  readonly warden: TestWarden;
  readonly controller: SimulatedController;
  readonly bus: Bus;
  readonly heard: Heard = {
    beats: [],
    held: new Map(),
    usage: new Map(),
    advertisements: [],
    exits: [],
    registered: [],
    unregistered: [],
    envelopes: [],
  };
  readonly folder: string;
  readonly #stack: AsyncDisposableStack;
  #dea: ComponentProcess | undefined;

  private constructor(
    parts: { nats: TestNats; warden: TestWarden; controller: SimulatedController; bus: Bus; folder: string },
    stack: AsyncDisposableStack,
  ) {
    this.nats = parts.nats;
    this.warden = parts.warden;
    this.controller = parts.controller;
    this.bus = parts.bus;
    this.folder = parts.folder;
    this.#stack = stack;
  }

  /** `change` is of the DEA's configuration, `of_warden` of its warden's. */
  static async start(change: object = {}, of_warden: Record<string, unknown> = {}): Promise<TestCell> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'ingot-dea-'));
    stack.defer(async () => await rm(folder, { recursive: true, force: true }));
    const nats = stack.use(await TestNats.start());
    const controller = stack.use(await SimulatedController.start());
    const warden = stack.use(await TestWarden.start(of_warden));
    const bus = stack.use(await Bus.connect({ servers: [nats.url], name: 'test', log: silentLog }));
    const config = {
      base_dir: join(folder, 'dea'),
      nats_servers: [nats.url],
      warden_socket: warden.client.socket_path,
      ip: '127.0.0.1',
      cc_url: controller.url,
      internal_api: INTERNAL_API,
      stacks: ['test'],
      resources: { memory_mb: 1024, disk_mb: 8192 },
      intervals: { heartbeat_s: 0.5, advertise_s: 1, stats_s: 1, container_reap_s: 1 },
      staging: { memory_limit_mb: 256, disk_limit_mb: 512 },
      status: { credentials: INTERNAL_API },
      ...change,
    };
    const parts = { nats, warden, controller, bus, folder };
    const cell = new TestCell(parts, stack.move());
    cell.#listen();
    await bus.flush();
    try {
      cell.#dea = await ComponentProcess.start({ room: 'dea', schema: 'DeaConfig', config, folder });
      cell.#stack.use(cell.#dea);
    } catch (error) {
      await cell[Symbol.asyncDispose]();
      throw error;
    }
    return cell;
  }

  get dea(): ComponentProcess {
    if (!this.#dea) throw new Error('the DEA is not started');
    return this.#dea;
  }

  get id(): string {
    const [first] = this.heard.advertisements;
    if (!first) throw new Error('the DEA has not advertised');
    return first.id;
  }

  async order(start: StartMessage): Promise<OrderReply> {
    return await this.bus.request(deaStart(this.id), start, { timeout_ms: 10_000 });
  }

  async stage(message: StagingMessage): Promise<OrderReply> {
    return await this.bus.request(stagingStart(this.id), message, { timeout_ms: 10_000 });
  }

  /** What beats said last of an instance. */
  held(instance: string): HeartbeatInstance | undefined {
    return this.heard.held.get(instance);
  }

  /** The log so far, `SOURCE text` each. */
  get lines(): string[] {
    return this.heard.envelopes.flatMap(({ log, tags }) =>
      log ? [`${tags['source_type']} ${Buffer.from(log.payload, 'base64').toString('utf8')}`] : [],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #listen(): void {
    const { bus, heard } = this;
    bus.subscribe(deaHeartbeat, (beat) => {
      heard.beats.push(beat);
      if (beat.droplets) heard.held.clear();
      for (const held of beat.droplets ?? beat.changes?.held ?? []) heard.held.set(held.instance, held);
      for (const gone of beat.changes?.gone ?? []) heard.held.delete(gone);
    });
    bus.subscribe(deaUsage, ({ usage }) => {
      for (const [instance, figures] of Object.entries(usage)) heard.usage.set(instance, figures);
    });
    bus.subscribe(deaAdvertise, (advertisement) => void heard.advertisements.push(advertisement));
    bus.subscribe(dropletExited, (exit) => void heard.exits.push(exit));
    bus.subscribe(routerRegister, (route) => void heard.registered.push(route));
    bus.subscribe(routerUnregister, (route) => void heard.unregistered.push(route));
    bus.subscribe(allEnvelopes, ({ batch }) => void heard.envelopes.push(...batch));
  }
}
