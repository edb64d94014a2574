import type { Bus } from '#bus/bus.ts';
import { type DeaHeartbeat, deaHeartbeat, deaUsage, dropletExited, type HeartbeatInstance } from '#contracts/dea.ts';

export const BEAT_MS = 2_000;
/** As src/dea/heart.ts has them. */
const BEATS_PER_USAGE = 5;
const PAUSE_MS_PER_CHANGE = 20;
const MIN_PAUSE_MS = 100;
/** From an order to RUNNING. */
const START_MS = 300;
const RUN = '00000000-aaaa-4bbb-8ccc-000000000000';

export const guid = (kind: number, n: number): string =>
  `${kind.toString(16).padStart(8, '0')}-aaaa-4bbb-8ccc-${n.toString(16).padStart(12, '0')}`;
export const droplet = (n: number): string => guid(1, n);
export const VERSION = guid(3, 0);

export interface Held {
  app: number;
  index: number;
  instance: string;
  state?: HeartbeatInstance['state'];
}

/** What all of them have said so far. */
export const said = { beats: 0, instances: 0 };

/** A DEA without containers, of which there may be thousands in one process: it beats, takes orders, and loses instances. */
export class SimulatedDea {
  readonly id: string;
  readonly held: Held[] = [];
  isAlive = true;
  readonly #bus: Bus;
  #seq = 0;
  #news: Held[] = [];
  #gone: string[] = [];
  #beats: number;
  #changesFrom_ms = -Infinity;
  #next: NodeJS.Timeout | undefined;

  constructor(n: number, bus: Bus) {
    this.id = guid(9, n);
    this.#beats = n;
    this.#bus = bus;
  }

  /** An instance that it holds from the beginning. */
  hold(held: Held): void {
    this.held.push(held);
  }

  /** It took an order: the instance starts, and runs a moment later. */
  start(held: Held): void {
    this.held.push(held);
    held.state = 'STARTING';
    this.#changed(held);
    setTimeout(() => {
      held.state = 'RUNNING';
      this.#changed(held);
    }, START_MS);
  }

  /** The instance that it has held longest crashes, and is said to. */
  crash(): Held | undefined {
    const held = this.held.shift();
    if (!held) return undefined;
    const { app, index, instance } = held;
    this.#bus.publish(dropletExited, {
      cc_partition: 'default',
      dea: this.id,
      droplet: droplet(app),
      app: guid(2, app),
      version: VERSION,
      instance,
      index,
      reason: 'CRASHED',
      exit_status: 1,
      exit_description: 'app instance exited',
    });
    this.#gone.push(instance);
    this.#changed();
    return held;
  }

  /** As src/dea/heart.ts does in its time: what changed, else that nothing did; usage figures now and then. */
  beat(): void {
    if (performance.now() < this.#changesFrom_ms) this.#say({});
    else this.#sayChanges();
    if (++this.#beats % BEATS_PER_USAGE !== 0) return;
    const time = new Date().toISOString();
    const figures = { cpu: 0.0123, mem: 45_678_592, disk: 12_345_678, log_rate: 0, time };
    const usage = Object.fromEntries(this.held.map(({ instance }) => [instance, figures]));
    this.#bus.publish(deaUsage, { dea: this.id, usage });
  }

  beatFully(): void {
    if (this.#news.length + this.#gone.length > 0) this.#seq += 1;
    this.#news = [];
    this.#gone = [];
    this.#say({ droplets: this.held.map(described) });
  }

  get bytes(): number {
    return JSON.stringify(this.held.map(described)).length;
  }

  #changed(held?: Held): void {
    if (held && !this.#news.includes(held)) this.#news.push(held);
    this.#next ??= setTimeout(() => this.#sayChanges(), Math.max(0, this.#changesFrom_ms - performance.now()));
  }

  #sayChanges(): void {
    clearTimeout(this.#next);
    this.#next = undefined;
    if (!this.isAlive) return;
    const named = this.#news.length + this.#gone.length;
    if (named === 0) {
      this.#say({});
      return;
    }
    this.#seq += 1;
    this.#say({ changes: { held: this.#news.map(described), gone: this.#gone } });
    this.#news = [];
    this.#gone = [];
    const pause_ms = Math.min(BEAT_MS, Math.max(MIN_PAUSE_MS, named * PAUSE_MS_PER_CHANGE));
    this.#changesFrom_ms = performance.now() + pause_ms;
  }

  /** Hearers compare digests and make none: the number of the list does, and costs this process nothing. */
  #say(what: Partial<DeaHeartbeat>): void {
    const digest = this.#seq.toString(16).padStart(16, '0');
    const beat = { dea: this.id, run: RUN, seq: this.#seq, digest, ...what };
    said.beats += 1;
    said.instances += (what.droplets ?? what.changes?.held ?? []).length;
    this.#bus.publish(deaHeartbeat, beat);
  }
}

function described({ app, index, instance, state = 'RUNNING' }: Held): HeartbeatInstance {
  return {
    cc_partition: 'default',
    droplet: droplet(app),
    app: guid(2, app),
    version: VERSION,
    instance,
    index,
    state,
    state_timestamp: 1_700_000_000,
    routable: state === 'RUNNING',
    host: '10.0.12.34',
    port: 61_234,
    container_ip: '10.254.12.34',
  };
}
