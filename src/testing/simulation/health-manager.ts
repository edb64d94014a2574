import { Reconciler, type ReconcilerOptions } from '#health-manager/reconciler.ts';
import type { Step } from '#health-manager/plan.ts';
import { Random } from './random.ts';
import { BEAT_MS, CALM, World, type Message, type Weather } from './world.ts';

const STEP_MS = 250;
const FETCH_MS = 20_000;

/** Some of everything, some of it at the same time. */
export const STORM: Weather = {
  crash: 0.5,
  dea_death: 0.01,
  dea_birth: 0.01,
  dea_partition: 0.02,
  dea_half_open: 0.02,
  dea_restart: 0.02,
  bus_outage: 0.005,
  stall: 0.01,
  evacuation: 0.005,
  desired_change: 0.1,
  loss: 0.02,
  duplication: 0.02,
  max_delay_ms: 400,
};

const RULES: ReconcilerOptions = {
  silence_ms: BEAT_MS * 3,
  desired_ttl_ms: 120_000,
  crash_count_ttl_ms: 1_920_000,
  max_starts_per_round: 5000,
  missing_grace_ms: 5_000,
  start_keep_alive_ms: 8_000,
  stop_keep_alive_ms: 10_000,
  duplicate_delay_ms: 30_000,
  duplicate_stagger_ms: 10_000,
  crashes_before_backoff: 3,
  first_backoff_ms: 30_000,
  max_backoff_ms: 960_000,
};

/** What was promised and not kept: with the seed it can be seen again. */
export class InvariantBroken extends Error {
  constructor(seed: number, now: number, what: string) {
    super(`seed ${seed}, ${now / 1000} s: ${what}`);
  }
}

export interface SimulationOptions {
  seed: number;
  storm_s: number;
  deas: number;
  processes: number;
  max_instances: number;
  weather?: Weather;
}

/** The storm that a seed alone stands for: how long, and over how large a platform. */
export function stormOf(seed: number): SimulationOptions {
  const random = new Random(seed);
  const size = { deas: random.between(2, 40), processes: random.between(1, 40), max_instances: random.between(1, 6) };
  return { seed, ...size, storm_s: random.between(60, 1200) };
}

/**
 * Runs the real reconciler in a simulated world: a storm, then calm. Checked at each step: it asks for nothing on stale knowledge,
 * for no start twice within the keep-alive, and for no stop of the last instance that serves a desired index. After the calm
 * everything must be as desired, and what it knows of the DEAs true. Returns the number of steps. Errors: InvariantBroken.
 */
export function simulateHealthManager(options: SimulationOptions): { steps: number; asked: number } {
  const random = new Random(options.seed);
  const world = new World(random, options.weather ?? STORM, options);
  const reconciler = new Reconciler(RULES);
  const check = new Invariants(options.seed, world);
  let nextFetchAt = 0;
  let wasBusUp = true;
  let steps = 0;
  let asked = 0;

  const round = (): void => {
    check.heard(reconciler);
    const isFresh = reconciler.isFresh(world.now);
    if (!world.isBusUp) return;
    for (const step of reconciler.round(world.now).steps) {
      asked += 1;
      check.step(step, isFresh);
      if (step.do === 'start') world.start(step.droplet, step.version, step.index);
      else if (mayStop(world, step)) world.stop(step.instance);
    }
  };
  /** What came while the health manager's process stood still. */
  let unread: Message[] = [];
  let standsUntil = 0;
  const tick = (): void => {
    steps += 1;
    unread.push(...world.step(STEP_MS));
    if (random.chance((world.weather.stall * STEP_MS) / 1000)) standsUntil = world.now + random.between(250, 15_000);
    if (world.now < standsUntil) return;
    reconciler.wake(world.now);
    // Timers come before messages when a process goes on.
    if (unread.length > 0) round();
    const heard = unread;
    unread = [];
    for (const message of heard) {
      if (message.to !== 'health manager') continue;
      if (message.kind === 'exit') reconciler.exited(message.exit, world.now);
      else if (message.kind === 'updated') reconciler.updated(message.process);
      else if (reconciler.beat(message.beat, world.now))
        world.send({ to: 'dea', kind: 'beat please', dea: message.beat.dea });
    }
    if (world.isBusUp && !wasBusUp) reconciler.interrupt(world.now);
    wasBusUp = world.isBusUp;
    if (world.now >= nextFetchAt) {
      nextFetchAt = world.now + FETCH_MS;
      reconciler.desired.beginReading();
      reconciler.fetched([...world.desired.values()], { askedAt: world.now, now: world.now });
    }
    round();
  };

  while (world.now < options.storm_s * 1000) tick();
  world.weather = CALM;
  // Those that are left may all be leaving.
  world.bear();
  // The longest wait there is: the back-off of an index that crashed many times, then a start and its keep-alive.
  const calmEnd = world.now + RULES.max_backoff_ms + 120_000;
  while (world.now < calmEnd) tick();
  check.converged();
  check.knows(reconciler);
  return { steps, asked };
}

/** The cloud controller's authority over stops: what is desired and no duplicate is not stopped. */
function mayStop(world: World, step: Step & { do: 'stop' }): boolean {
  const wanted = world.desired.get(step.droplet);
  const isDesired = wanted?.state === 'STARTED' && wanted.version === step.version && step.index < wanted.instances;
  return !isDesired || step.why === 'duplicate' || step.why === 'evacuated';
}

class Invariants {
  readonly #seed: number;
  readonly #world: World;
  readonly #startedAt = new Map<string, { droplet: string; version: string; index: number; at: number }>();
  /** What served at the last look, to know how long something has been gone that the health manager cannot have heard of yet. */
  readonly #lastLost = new Map<string, number>();

  constructor(seed: number, world: World) {
    this.#seed = seed;
    this.#world = world;
  }

  /** A start that was seen to be carried out, or of something no longer wanted, is done with; the next one is another. */
  heard(reconciler: Reconciler): void {
    for (const [key, start] of this.#startedAt) {
      const isSeen = reconciler.actual
        .instancesOf(start.droplet)
        .some((i) => i.index === start.index && i.version === start.version);
      const wanted = reconciler.desired.get(start.droplet);
      if (isSeen || wanted?.state !== 'STARTED' || start.index >= wanted.instances) this.#startedAt.delete(key);
    }
  }

  step(step: Step, isFresh: boolean): void {
    if (!isFresh) this.#broken(`${step.do} of ${step.droplet}/${step.index} on stale knowledge`);
    if (step.do === 'start') this.#start(step);
    else this.#stop(step);
  }

  converged(): void {
    for (const process of this.#world.desired.values()) {
      const wanted = process.state === 'STARTED' ? process.instances : 0;
      for (let index = 0; index < Math.max(wanted, 8); index++) {
        const serving = this.#world.serving(process.droplet, index).filter((i) => i.version === process.version).length;
        const expected = index < wanted ? 1 : 0;
        if (serving !== expected)
          this.#broken(`after the calm ${process.droplet}/${index} has ${serving} instances, not ${expected}`);
      }
    }
  }

  /** It holds of each DEA what that DEA holds, though changes were lost, doubled and came in another order. */
  knows(reconciler: Reconciler): void {
    const known = [...reconciler.actual.droplets()].flatMap((droplet) =>
      reconciler.actual.instancesOf(droplet).map(({ instance, dea, state }) => `${instance} ${dea} ${state}`),
    );
    const actual = [...this.#world.instances()].map(({ instance, dea, state }) => `${instance} ${dea} ${state}`);
    if (known.toSorted().join() !== actual.toSorted().join())
      this.#broken('after the calm it knows of other instances');
  }

  #start({ droplet, version, index, why }: Step & { do: 'start' }): void {
    const key = `${droplet} ${version} ${index}`;
    const before = this.#startedAt.get(key)?.at;
    // A crash of what was started makes the next start another one, though it was never seen.
    if (why !== 'crashed' && before !== undefined && this.#world.now - before < RULES.start_keep_alive_ms) {
      this.#broken(`start of ${droplet}/${index} asked for again after ${this.#world.now - before} ms`);
    }
    this.#startedAt.set(key, { droplet, version, index, at: this.#world.now });
  }

  #stop(step: Step & { do: 'stop' }): void {
    // A hint that was lost makes an extra of what is desired again, until the next reading: the cloud controller refuses that.
    if (!mayStop(this.#world, step)) return;
    const { droplet, index, instance } = step;
    const wanted = this.#world.desired.get(droplet);
    if (wanted?.state !== 'STARTED' || index >= wanted.instances) return;
    const serving = this.#world.serving(droplet, index);
    const isLast = serving.length === 1 && serving[0]?.instance === instance;
    if (!isLast) {
      this.#lastLost.delete(instance);
      return;
    }
    // The other one may have gone a moment ago: what nobody can have heard of is nobody's fault.
    const since = this.#lastLost.get(instance) ?? this.#world.now;
    this.#lastLost.set(instance, since);
    if (this.#world.now - since > RULES.silence_ms + 2 * STEP_MS)
      this.#broken(`stop of ${instance}, the last that serves ${droplet}/${index}`);
  }

  #broken(what: string): never {
    throw new InvariantBroken(this.#seed, this.#world.now, what);
  }
}
