import type { z } from 'zod';
import type { Bus } from '#bus/bus.ts';
import { networkPoliciesChanged, networkPoliciesList, type NetworkPolicy } from '#contracts/networking.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';

const LIST_TIMEOUT_MS = 3000;

/**
 * The cloud controller's network policies as this DEA knows them: from its own file at first, then from the list whenever a change
 * was missed, and change by change between. While nobody answers, what was known last holds.
 */
export class PolicyReplica implements Disposable {
  readonly #options: { bus: Bus; log: Log; changed: () => void };
  readonly #stack = new DisposableStack();
  readonly #policies = new Map<string, NetworkPolicy>();
  #revision: number | undefined;
  #asking = false;

  constructor(options: {
    bus: Bus;
    log: Log;
    changed: () => void;
    known: { revision?: number | undefined; policies: readonly NetworkPolicy[] };
  }) {
    this.#options = options;
    for (const policy of options.known.policies) this.#policies.set(keyOf(policy), policy);
    this.#revision = options.known.revision;
    this.#stack.use(
      options.bus.subscribe(networkPoliciesChanged, ({ revision, before, added, removed }) => {
        if (revision === this.#revision) return;
        if (before !== this.#revision) return this.ask();
        for (const policy of removed) this.#policies.delete(keyOf(policy));
        for (const policy of added) this.#policies.set(keyOf(policy), policy);
        this.#revision = revision;
        options.changed();
      }),
    );
  }

  /** Undefined until the list was had once. */
  get revision(): number | undefined {
    return this.#revision;
  }

  get policies(): NetworkPolicy[] {
    return [...this.#policies.values()];
  }

  /** Gets the list; the next change that does not fit, or the next word of the cloud controller, asks again if nobody answers. */
  ask(): void {
    if (this.#asking) return;
    this.#asking = true;
    this.#load()
      .catch((error: unknown) => this.#options.log.debug({ error: describeError(error) }, 'network policies not had'))
      .finally(() => (this.#asking = false));
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  async #load(): Promise<void> {
    const policies: NetworkPolicy[] = [];
    let revision: number | undefined;
    let after: number | undefined = 0;
    while (after !== undefined) {
      const page: z.output<typeof networkPoliciesList.reply> = await this.#options.bus.request(
        networkPoliciesList,
        { after },
        { timeout_ms: LIST_TIMEOUT_MS },
      );
      // Changed while we read: what we have may lack what lies before.
      if (revision !== undefined && page.revision !== revision) return await this.#load();
      ({ revision, next: after } = page);
      policies.push(...page.policies);
    }
    this.#policies.clear();
    for (const policy of policies) this.#policies.set(keyOf(policy), policy);
    this.#revision = revision;
    this.#options.changed();
  }
}

function keyOf({ source, destination, protocol, first_port, last_port }: NetworkPolicy): string {
  return [source, destination, protocol, first_port, last_port].join(' ');
}
