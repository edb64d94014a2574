import { tokenRevoked, revocationList, type Revocation } from '#contracts/uaa.ts';
import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';
import type { ClientStore } from '../clients/store.ts';
import type { UserStore } from '../users/store.ts';
import type { TokenStore } from './store.ts';

export interface RevocationsOptions {
  tokens: TokenStore;
  clients: ClientStore;
  users: UserStore;
  bus: Bus;
  clock: Clock;
  /** For clients that say nothing of their own. */
  access_token_validity_s: number;
}

/** Ends tokens before their time: keeps it in the database for the UAAs and says it on the bus for everybody else. */
export class Revocations implements Disposable {
  readonly #options: RevocationsOptions;
  readonly #answering: Disposable;

  constructor(options: RevocationsOptions) {
    this.#options = options;
    const { bus, clock, tokens } = options;
    this.#answering = bus.reply(
      revocationList,
      async () => ({ revocations: await tokens.revocations(new Date(clock.now())) }),
      { queue: 'uaa' },
    );
  }

  /** `exp_s` when it is known; else as long as any token may live. */
  async revokeToken(jti: string, exp_s?: number): Promise<void> {
    const all = await this.#all();
    await this.#add({ jti, ...all, expires_at: exp_s ?? all.expires_at });
  }

  /** Ends all tokens that come from one sign-in. */
  async endFamily(family_id: string): Promise<void> {
    this.tell(await this.#options.tokens.endFamily(family_id, new Date(this.#options.clock.now())));
  }

  /** Says what the database has already. Whoever misses it while the bus is away reads the list when it is back. */
  tell(revocations: readonly Revocation[]): void {
    for (const revocation of revocations) this.#options.bus.publish(tokenRevoked, revocation);
  }

  /** Errors: scim_resource_not_found. */
  async revokeUser(user_id: string): Promise<void> {
    await this.#options.users.renewSalt(user_id);
    await this.tellUser(user_id);
  }

  /** As revokeUser, for a user who is gone or whose salt is new already. */
  async tellUser(user_id: string): Promise<void> {
    await this.#add({ user_id, ...(await this.#all()) });
    await this.#nextSecond();
  }

  /** Errors: scim_resource_not_found. */
  async revokeClient(client_id: string): Promise<void> {
    await this.#options.clients.renewSalt(client_id);
    await this.tellClient(client_id);
  }

  /** As revokeClient, for a client that is gone or whose salt is new already. */
  async tellClient(client_id: string): Promise<void> {
    await this.#add({ client_id, ...(await this.#all()) });
    await this.#nextSecond();
  }

  [Symbol.dispose](): void {
    this.#answering[Symbol.dispose]();
  }

  /** Everything issued until now, all of which is over by the time given. */
  async #all(): Promise<{ issued_until: number; expires_at: number }> {
    const now = Math.floor(this.#options.clock.now() / 1000);
    const longest = await this.#options.clients.longestValidity(this.#options.access_token_validity_s);
    return { issued_until: now, expires_at: now + longest };
  }

  /** Tokens say their second alone: one made right after this has to be of a later one, or it would be refused too. */
  async #nextSecond(): Promise<void> {
    const { clock } = this.#options;
    await clock.sleep(1000 - (Math.floor(clock.now()) % 1000));
  }

  async #add(revocation: Revocation): Promise<void> {
    await this.#options.tokens.addRevocation(revocation);
    this.tell([revocation]);
  }
}
