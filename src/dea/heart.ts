import { beatDigest } from '#contracts/beat-digest.ts';
import { deaHeartbeat, type HeartbeatInstance, type InstanceUsage } from '#contracts/dea.ts';
import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';

/** Usage figures go with one beat in so many. */
const BEATS_PER_USAGE = 5;
/**
 * A full beat keeps the next one waiting so long for each instance that it named: nothing that a person would notice on a DEA of few,
 * and at most three periods. A thousand DEAs of 250 instances that all start some would else drown those who listen.
 */
const PAUSE_MS_PER_INSTANCE = 8;
const MAX_PAUSE_BEATS = 3;

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
  #fullAt = -Infinity;
  #pause_ms = 0;
  #scheduled: NodeJS.Timeout | undefined;

  constructor(options: HeartOptions) {
    this.#options = options;
    this.#timer = options.clock.every(options.heartbeat_s * 1000, () => this.#beat());
    this.#reconnect = options.bus.onReconnect(() => this.beatFully());
  }

  /** Something changed: a full beat, at once when the last one is not too recent, and one for all that changes until then. */
  changed(): void {
    const { clock } = this.#options;
    const wait_ms = Math.max(0, this.#fullAt + this.#pause_ms - clock.monotonic());
    this.#scheduled ??= setTimeout(() => this.beatFully(), wait_ms);
  }

  beatFully(): void {
    clearTimeout(this.#scheduled);
    this.#scheduled = undefined;
    const { clock, heartbeat_s } = this.#options;
    const droplets = this.#options.held();
    const digest = beatDigest(droplets);
    const isSaid = this.#options.bus.publish(deaHeartbeat, {
      dea: this.#options.dea,
      digest,
      droplets,
      usage: this.#options.usage(),
    });
    this.#fullAt = clock.monotonic();
    this.#pause_ms = Math.min(MAX_PAUSE_BEATS * heartbeat_s * 1000, droplets.length * PAUSE_MS_PER_INSTANCE);
    if (isSaid) this.#toldDigest = digest;
    // Nobody heard it: the next one is not to wait.
    else this.#pause_ms = 0;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#scheduled);
    this.#timer[Symbol.dispose]();
    this.#reconnect[Symbol.dispose]();
  }

  #beat(): void {
    const { bus, dea, held, usage, clock } = this.#options;
    const isTooSoon = clock.monotonic() < this.#fullAt + this.#pause_ms;
    // Until it is time again, what was told last is what others hold.
    const digest = isTooSoon ? this.#toldDigest : beatDigest(held());
    if (digest !== this.#toldDigest) {
      this.beatFully();
      return;
    }
    const isWithUsage = ++this.#beats % BEATS_PER_USAGE === 0;
    bus.publish(deaHeartbeat, { dea, digest, ...(isWithUsage && { usage: usage() }) });
  }
}
