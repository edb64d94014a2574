import { UaaError } from '../errors.ts';
import type { GroupStore } from '../groups/store.ts';
import type { User } from '../tables.ts';
import type { UserStore } from '../users/store.ts';

/** A person as another provider knows them. */
export interface ForeignUser {
  origin: string;
  /** What the provider never gives to somebody else: a DN, a subject. */
  external_id: string;
  user_name: string;
  email: string;
  given_name: string | null;
  family_name: string | null;
  /** Names of the groups that the provider has them in. */
  groups: readonly string[];
}

/**
 * The accounts here of people whose password is elsewhere: made at the first sign-in and brought up to date at each, the groups
 * among them that come from the provider.
 */
export class ShadowUsers {
  readonly #users: UserStore;
  readonly #groups: GroupStore;

  constructor(users: UserStore, groups: GroupStore) {
    this.#users = users;
    this.#groups = groups;
  }

  /** `mapping`: the provider's groups → ours. */
  async keep(person: ForeignUser, mapping: Readonly<Record<string, readonly string[]>>): Promise<User> {
    const { groups, origin, ...attributes } = person;
    const user = await this.#account(origin, attributes);
    const ours = groups.flatMap((group) => (Object.hasOwn(mapping, group) ? (mapping[group] ?? []) : []));
    await this.#groups.setOfOrigin(user.id, origin, [...new Set(ours)]);
    return user;
  }

  async #account(origin: string, attributes: Omit<ForeignUser, 'origin' | 'groups'>): Promise<User> {
    const known =
      (await this.#users.findByExternalId(attributes.external_id, origin)) ??
      // Somebody may have made the account beforehand, as `cf create-user --origin` does; then it has no external id yet.
      (await this.#users.findByName(attributes.user_name, origin)).find((user) => (user.external_id ?? '') === '');
    if (!known) {
      try {
        return await this.#users.create({ ...attributes, origin, password_hash: null });
      } catch (error) {
        if (!(error instanceof UaaError) || error.code !== 'scim_resource_already_exists') throw error;
        // Either the same person signs in twice at once, or the name belongs to somebody with another external id.
        const again = await this.#users.findByExternalId(attributes.external_id, origin);
        if (!again) throw error;
        return again;
      }
    }
    const isSame = (Object.keys(attributes) as (keyof typeof attributes)[]).every(
      (name) => known[name] === attributes[name],
    );
    return isSame ? known : await this.#users.update(known.id, attributes);
  }
}
