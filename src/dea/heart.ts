import { randomUUID } from 'node:crypto';
import { beatDigest } from '#contracts/beat-digest.ts';
import {
  type DeaHeartbeat,
  deaHeartbeat,
  deaUsage,
  type HeartbeatInstance,
  type InstanceUsage,
} from '#contracts/dea.ts';
import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';

/** Usage figures are said after one beat in so many. */
const BEATS_PER_USAGE = 5;
/**
 * What is said of changes keeps the next such beat waiting, the longer the more it named: nothing that a person would notice when
 * it is a few, and a beat's time at most. A thousand DEAs that start a hundred instances each would else drown those who listen.
 */
const PAUSE_MS_PER_CHANGE = 20;
const MIN_PAUSE_MS = 100;
/** Several may ask for the whole list at the same moment; all hear the same one. */
const FULL_PAUSE_MS = 500;

export interface HeartOptions {
  bus: Bus;
  clock: Clock;
  dea: string;
  heartbeat_s: number;
  held: () => HeartbeatInstance[];
  usage: () => Record<string, InstanceUsage>;
}

/**
 * Says what this DEA holds: what changed when it changed, all of it at the start and when asked, otherwise only that it did not
 * change. What could not be said, the bus being away, is part of the next change (docs/adr/0006-beats-of-what-changed.md).
 */
export class Heart implements Disposable {
  readonly #options: HeartOptions;
  readonly #stack = new DisposableStack();
  readonly #run = randomUUID();
  #seq = 0;
  #digest = '';
  /** What others hold by what was said, instance by instance; undefined before anything was. */
  #told: Map<string, string> | undefined;
  #beats = 0;
  #changesFrom_ms = -Infinity;
  #fullFrom_ms = -Infinity;
  #nextChange: NodeJS.Timeout | undefined;
  #nextFull: NodeJS.Timeout | undefined;

  constructor(options: HeartOptions) {
    this.#options = options;
    this.#stack.use(options.clock.every(options.heartbeat_s * 1000, () => this.#beatInTime()));
    this.#stack.defer(() => {
      clearTimeout(this.#nextChange);
      clearTimeout(this.#nextFull);
    });
  }

  /** Something changed: it is said at once when the last time is not too recent, with all that changes until then. */
  changed(): void {
    const wait_ms = Math.max(0, this.#changesFrom_ms - this.#options.clock.monotonic());
    this.#nextChange ??= setTimeout(() => this.beat(), wait_ms);
  }

  /** Says what changed, or that nothing did, now. */
  beat(): void {
    clearTimeout(this.#nextChange);
    this.#nextChange = undefined;
    const list = this.#options.held();
    const changes = this.#changesIn(list);
    if (changes === undefined) this.#sayAll(list);
    else if (changes.held.length + changes.gone.length === 0) this.#say({});
    else this.#sayChanges(list, changes);
  }

  /** Somebody lacks the list: says all of it, now or when one was just said. */
  beatFully(): void {
    const wait_ms = this.#fullFrom_ms - this.#options.clock.monotonic();
    if (wait_ms <= 0) this.#sayAll(this.#options.held());
    else this.#nextFull ??= setTimeout(() => this.#sayAll(this.#options.held()), wait_ms);
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #beatInTime(): void {
    const { clock, bus, dea, usage } = this.#options;
    // Until it is time again, what was said last is what others hold.
    if (this.#told !== undefined && clock.monotonic() < this.#changesFrom_ms) this.#say({});
    else this.beat();
    if (++this.#beats % BEATS_PER_USAGE === 0) bus.publish(deaUsage, { dea, usage: usage() });
  }

  /** Undefined when nothing was told yet that could have changed. */
  #changesIn(list: readonly HeartbeatInstance[]): DeaHeartbeat['changes'] {
    if (this.#told === undefined) return undefined;
    const gone = new Set(this.#told.keys());
    const held: HeartbeatInstance[] = [];
    for (const instance of list) {
      gone.delete(instance.instance);
      if (this.#told.get(instance.instance) !== JSON.stringify(instance)) held.push(instance);
    }
    return { held, gone: [...gone] };
  }

  #sayAll(list: readonly HeartbeatInstance[]): void {
    clearTimeout(this.#nextFull);
    this.#nextFull = undefined;
    const { clock, bus, dea, usage } = this.#options;
    const changes = this.#changesIn(list);
    const isChanged = changes === undefined || changes.held.length + changes.gone.length > 0;
    const next = isChanged ? { seq: this.#seq + 1, digest: beatDigest(list) } : {};
    if (!this.#say({ ...next, droplets: [...list] })) return;
    this.#note(list, next);
    this.#fullFrom_ms = clock.monotonic() + FULL_PAUSE_MS;
    bus.publish(deaUsage, { dea, usage: usage() });
  }

  #sayChanges(list: readonly HeartbeatInstance[], changes: NonNullable<DeaHeartbeat['changes']>): void {
    const { clock, heartbeat_s } = this.#options;
    const next = { seq: this.#seq + 1, digest: beatDigest(list) };
    if (!this.#say({ ...next, changes })) return;
    this.#note(list, next);
    const named = changes.held.length + changes.gone.length;
    const pause_ms = Math.min(heartbeat_s * 1000, Math.max(MIN_PAUSE_MS, named * PAUSE_MS_PER_CHANGE));
    this.#changesFrom_ms = clock.monotonic() + pause_ms;
  }

  /** False when nobody can have heard it. */
  #say(what: Partial<DeaHeartbeat>): boolean {
    const { bus, dea } = this.#options;
    return bus.publish(deaHeartbeat, { dea, run: this.#run, seq: this.#seq, digest: this.#digest, ...what });
  }

  #note(list: readonly HeartbeatInstance[], said: { seq?: number; digest?: string }): void {
    this.#seq = said.seq ?? this.#seq;
    this.#digest = said.digest ?? this.#digest;
    this.#told = new Map(list.map((instance) => [instance.instance, JSON.stringify(instance)]));
  }
}
