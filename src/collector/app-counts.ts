import type { LogEmitter } from '#bus/log-emitter.ts';
import type { Bus } from '#bus/bus.ts';
import { type DropletExited, dropletExited } from '#contracts/dea.ts';
import { hm9000Start, type StartRequest } from '#contracts/health-manager.ts';
import type { Clock } from '#kernel/clock.ts';
import { Counter, type Registry } from 'prom-client';

const REPEAT_INTERVAL_MS = 60_000;
/** So long after its last crash or restart an app is told of; then its counts begin anew. */
const MEMORY_MS = 3_600_000;
const MAX_COUNTS = 20_000;

interface Count {
  name: 'crashes' | 'restarts';
  app: string;
  process: string;
  index: number;
  total: number;
  at_ms: number;
}

/**
 * Crashes of apps' instances, which DEAs tell, and restarts, which the health manager asks for, counted for each instance and told to
 * the loggregator as counters of the app. All are counted in the collector's own figures too.
 */
export class AppCounts implements Disposable {
  readonly #emitter: LogEmitter;
  readonly #clock: Clock;
  readonly #counts = new Map<string, Count>();
  /** The health manager names processes; whose they are is known from the exits that it acts on. */
  readonly #appOf = new Map<string, string>();
  readonly #stack = new DisposableStack();
  readonly #crashes: Counter;
  readonly #restarts: Counter;

  constructor(options: { emitter: LogEmitter; clock: Clock; registry: Registry; repeat_interval_ms?: number }) {
    this.#emitter = options.emitter;
    this.#clock = options.clock;
    const registers = [options.registry];
    this.#crashes = new Counter({ name: 'instance_crashes_total', help: 'instances of apps that crashed', registers });
    this.#restarts = new Counter({
      name: 'instance_restarts_total',
      help: 'instances that the health manager asked to start, by what was the matter',
      labelNames: ['reason'],
      registers,
    });
    const repeat_ms = options.repeat_interval_ms ?? REPEAT_INTERVAL_MS;
    this.#stack.use(options.clock.every(repeat_ms, () => this.#repeat()));
  }

  hear(bus: Bus): void {
    this.#stack.use(bus.subscribe(dropletExited, (exit) => this.exited(exit)));
    this.#stack.use(bus.subscribe(hm9000Start, (request) => this.asked(request)));
  }

  exited({ app, droplet, index, reason }: DropletExited): void {
    if (this.#appOf.size >= MAX_COUNTS) this.#appOf.clear();
    this.#appOf.set(droplet, app);
    if (reason !== 'CRASHED') return;
    this.#crashes.inc();
    this.#count({ name: 'crashes', app, process: droplet, index });
  }

  asked({ droplet, instance_index, reason }: StartRequest): void {
    this.#restarts.inc({ reason });
    const app = this.#appOf.get(droplet);
    if (app !== undefined) this.#count({ name: 'restarts', app, process: droplet, index: instance_index });
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #count(of: Pick<Count, 'name' | 'app' | 'process' | 'index'>): void {
    const key = `${of.name} ${of.process} ${of.index}`;
    const [oldest] = this.#counts.keys();
    if (this.#counts.size >= MAX_COUNTS && oldest !== undefined && !this.#counts.has(key)) this.#counts.delete(oldest);
    const count = this.#counts.get(key) ?? { ...of, total: 0, at_ms: 0 };
    count.total += 1;
    count.at_ms = this.#clock.monotonic();
    this.#counts.set(key, count);
    this.#tell(count);
  }

  #repeat(): void {
    for (const [key, count] of this.#counts) {
      if (this.#clock.monotonic() - count.at_ms > MEMORY_MS) this.#counts.delete(key);
      else this.#tell(count);
    }
  }

  #tell({ name, app, process, index, total }: Count): void {
    const tags = { process_id: process };
    this.#emitter.emitMeasurement(
      { source_id: app, instance_id: String(index), source_type: 'HEALTH', tags },
      { counter: { name, total: String(total) } },
    );
  }
}
