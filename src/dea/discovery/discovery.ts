import { readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Bus } from '#bus/bus.ts';
import {
  NetworkPolicy,
  ServiceDiscoveryRegister,
  serviceDiscoveryRegister,
  serviceDiscoveryStart,
} from '#contracts/networking.ts';
import type { WardenClient } from '#http/warden-client.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { ownInstances } from './own-instances.ts';
import { discoverable, networkState } from './plan.ts';
import { PolicyReplica } from './policy-replica.ts';

/** Changes that come together are told together. */
const GATHER_MS = 20;
const RETRY_MS = 1000;
const REPEAT_S = 20;
const STALE_AFTER_S = 3 * REPEAT_S;

const Known = z.object({
  revision: z.number().int().optional(),
  policies: z.array(NetworkPolicy),
  others: z.array(ServiceDiscoveryRegister),
});

export interface DiscoveryOptions {
  dea: string;
  bus: Bus;
  warden: Pick<WardenClient, 'ping' | 'setNetwork'>;
  clock: Clock;
  log: Log;
  /** `db/network.json` in it keeps what was heard. */
  base_dir: string;
  instances: () => Parameters<typeof ownInstances>[0];
}

/**
 * Lets instances find and reach each other: says over NATS where those here are, hears the same of other DEAs and the policies of the
 * cloud controller, and gives warden what comes of it. What was heard is kept on disk, and while the bus is away all holds as it is.
 */
export class Discovery implements AsyncDisposable {
  readonly #options: DiscoveryOptions;
  readonly #stack = new DisposableStack();
  readonly #policies: PolicyReplica;
  readonly #others = new Map<string, { said: ServiceDiscoveryRegister; heard_at: number }>();
  #network: string | undefined;
  #saved = '';
  readonly #over = new AbortController();
  #isGathering = false;
  #telling: Promise<void> = Promise.resolve();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
    const { bus, clock, dea } = options;
    const known = read(pathIn(options));
    for (const said of known.others) this.#hear(said);
    const changed = (): void => this.changed();
    this.#policies = this.#stack.use(new PolicyReplica({ ...options, changed, known }));
    this.#stack.use(
      bus.subscribe(serviceDiscoveryRegister, (said) => {
        if (said.dea === dea) return;
        const before = this.#others.get(said.dea)?.said;
        this.#hear(said);
        if (JSON.stringify(before) !== JSON.stringify(said)) this.changed();
      }),
    );
    this.#stack.use(
      bus.subscribe(serviceDiscoveryStart, (asked) => {
        if (asked.dea !== dea) this.changed();
      }),
    );
    this.#stack.use(bus.onReconnect(() => this.#begin()));
    this.#stack.use(clock.every(REPEAT_S * 1000, changed));
    this.#begin();
  }

  /** Something here came, went, or is to be found otherwise. */
  changed(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    this.#after(GATHER_MS, () => {
      this.#isGathering = false;
      this.#telling = this.#telling.then(async () => await this.#tell());
    });
  }

  /** Stops telling; what warden was told holds. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stack.dispose();
    this.#over.abort();
    await this.#telling;
  }

  #after(ms: number, work: () => void): void {
    this.#options.clock.sleep(ms, this.#over.signal).then(
      () => void (this.#over.signal.aborted || work()),
      () => {},
    );
  }

  #begin(): void {
    // Whoever was silent because the bus was away gets its time anew.
    for (const { said } of this.#others.values()) this.#hear(said);
    this.#options.bus.publish(serviceDiscoveryStart, { dea: this.#options.dea });
    this.#policies.ask();
    this.changed();
  }

  #hear(said: ServiceDiscoveryRegister): void {
    this.#others.set(said.dea, { said, heard_at: this.#options.clock.monotonic() });
  }

  /** The others first: what is said to them depends on nothing that warden does. A failure is mended by the next time. */
  async #tell(): Promise<void> {
    const { dea, bus, warden, log } = this.#options;
    try {
      this.#network ??= (await warden.ping()).network;
      this.#prune();
      const knowledge = {
        network: this.#network,
        own: ownInstances(this.#options.instances()),
        others: [...this.#others.values()].map(({ said }) => said),
        policies: this.#policies.policies,
      };
      const instances = discoverable(knowledge);
      bus.publish(serviceDiscoveryRegister, { dea, network: this.#network, stale_after_s: STALE_AFTER_S, instances });
      // A DEA that knows no policies yet knows better than to take away what its warden holds.
      if (this.#policies.revision === undefined) return;
      await warden.setNetwork({ owner: dea, ...networkState(knowledge) });
      await this.#save();
    } catch (error) {
      log.warn({ error: describeError(error) }, 'ways between containers not told');
      this.#after(RETRY_MS, () => this.changed());
    }
  }

  #prune(): void {
    if (!this.#options.bus.isConnected) return;
    const now = this.#options.clock.monotonic();
    for (const [dea, { said, heard_at }] of this.#others) {
      if (now - heard_at > said.stale_after_s * 1000) this.#others.delete(dea);
    }
  }

  async #save(): Promise<void> {
    const { revision, policies } = this.#policies;
    const others = [...this.#others.values()].map(({ said }) => said);
    const text = JSON.stringify({ revision, policies, others });
    if (text === this.#saved) return;
    const path = pathIn(this.#options);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
    this.#saved = text;
  }
}

function pathIn({ base_dir }: Pick<DiscoveryOptions, 'base_dir'>): string {
  return join(base_dir, 'db/network.json');
}

/** A file that is not there, or can't be read, is as good as knowing nothing. */
function read(path: string): z.output<typeof Known> {
  try {
    return Known.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return { policies: [], others: [] };
  }
}
