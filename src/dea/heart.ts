import { beatDigest } from '#contracts/beat-digest.ts';
import { deaHeartbeat, type HeartbeatInstance, type InstanceUsage } from '#contracts/dea.ts';
import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';

/** Usage figures go with one beat in so many. */
const BEATS_PER_USAGE = 5;

export interface HeartOptions {
  bus: Bus;
  clock: Clock;
  dea: string;
  heartbeat_s: number;
  held: () => HeartbeatInstance[];
  usage: () => Record<string, InstanceUsage>;
}

/**
 * Says what this DEA holds: all of it when it changed, when asked, and after the bus was away; otherwise only that it did not
 * change (architecture decision 5).
 */
export class Heart implements Disposable {
  readonly #options: HeartOptions;
  readonly #timer: Disposable;
  readonly #reconnect: Disposable;
  #toldDigest = '';
  #beats = 0;
  #isScheduled = false;

  constructor(options: HeartOptions) {
    this.#options = options;
    this.#timer = options.clock.every(options.heartbeat_s * 1000, () => this.#beat());
    this.#reconnect = options.bus.onReconnect(() => this.beatFully());
  }

  /** Something changed: a full beat, at once, yet one for all that changes in the same turn. */
  changed(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.beatFully();
    });
  }

  beatFully(): void {
    const droplets = this.#options.held();
    const digest = beatDigest(droplets);
    const isSaid = this.#options.bus.publish(deaHeartbeat, {
      dea: this.#options.dea,
      digest,
      droplets,
      usage: this.#options.usage(),
    });
    if (isSaid) this.#toldDigest = digest;
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    this.#reconnect[Symbol.dispose]();
  }

  #beat(): void {
    const { bus, dea, held, usage } = this.#options;
    const digest = beatDigest(held());
    if (digest !== this.#toldDigest) {
      this.beatFully();
      return;
    }
    const isWithUsage = ++this.#beats % BEATS_PER_USAGE === 0;
    bus.publish(deaHeartbeat, { dea, digest, ...(isWithUsage && { usage: usage() }) });
  }
}
