import type { Clock } from '#kernel/clock.ts';
import type { AuditEvent, AuditTrail } from '../audit/store.ts';
import { accountLocked, badCredentials } from '../errors.ts';
import { hashPassword, verifyPassword } from '../passwords/hash.ts';
import type { User } from '../tables.ts';
import type { UserStore } from '../users/store.ts';
import { InTurn } from './in-turn.ts';
import type { AttemptStore } from './store.ts';

export interface PasswordProof {
  username: string;
  password: string;
  /** Whose account it is; undefined for the UAA's own users, then the other providers' in their order. */
  origin?: string | undefined;
  client_id?: string | undefined;
  remote_address: string;
}

/** Another place that knows passwords, such as a directory. */
export interface PasswordProvider {
  readonly origin: string;
  /** The user's account here, made or brought up to date; undefined when the pair is wrong. */
  authenticate(username: string, password: string): Promise<User | undefined>;
}

export interface AuthenticatorOptions {
  users: UserStore;
  attempts: AttemptStore;
  audit: AuditTrail;
  clock: Clock;
  providers: readonly PasswordProvider[];
}

/** Proves who a person is by name and password. Whatever is wrong, the answer and its time are the same. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #turns = new InTurn();

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** Errors: unauthorized, for a wrong pair or a locked account. */
  async authenticate(proof: PasswordProof): Promise<User> {
    const { attempts, audit, clock, users } = this.#options;
    const subject = subjectOf(proof.username);
    // One account at a time: of many tries at once only the first few may get an answer, and each right one clears the count.
    return await this.#turns.run(subject, async () => {
      const { remote_address, client_id, origin } = proof;
      const facts = { remote_address, client_id, origin, data: { user_name: proof.username.slice(0, 255) } };
      if (!(await attempts.begin(subject, new Date(clock.now())))) {
        audit.record({ event: 'user_locked_out', ...facts });
        throw accountLocked();
      }
      const user = await this.#prove(proof);
      if (!user?.active) {
        audit.record({ event: 'user_authentication_failure', ...facts });
        throw badCredentials();
      }
      await attempts.forget(subject);
      await users.recordLogon(user.id, new Date(clock.now()));
      audit.record({ event: 'user_authentication_success', ...facts, user_id: user.id, origin: user.origin });
      return user;
    });
  }

  async #prove(proof: PasswordProof): Promise<User | undefined> {
    // No text column of the database takes a null character.
    if (proof.username.includes('\0') || proof.password.length > 4096) return undefined;
    if (proof.origin === undefined || proof.origin === 'uaa') {
      const [user] = await this.#options.users.findByName(proof.username, 'uaa');
      if ((await verifyPassword(proof.password, user?.password_hash)) && user) return user;
    }
    for (const provider of this.#options.providers) {
      if (proof.origin !== undefined && proof.origin !== provider.origin) continue;
      const user = await provider.authenticate(proof.username, proof.password);
      if (user) return user;
    }
    return undefined;
  }

  /** Lets a locked account try again at once. */
  async unlock(user: User): Promise<void> {
    await this.#options.attempts.forget(subjectOf(user.user_name));
  }

  /** Sets a password that the policy allows; ends the user's other tokens and sessions. */
  async setPassword(user: User, password: string, made: Pick<AuditEvent, 'by' | 'remote_address'>): Promise<void> {
    await this.#options.users.setPassword(user.id, await hashPassword(password));
    this.#options.audit.record({ event: 'password_changed', user_id: user.id, origin: user.origin, ...made });
  }
}

/**
 * What tries are counted by: the name alone, whatever origin is named, and without what a database or a directory may not look
 * at (case, accents, spaces): else each way to write a name, or each origin, would be worth some more guesses.
 */
function subjectOf(username: string): string {
  return username.normalize('NFKD').replace(/\p{M}/gu, '').replace(/\s+/g, ' ').trim().toLowerCase();
}
