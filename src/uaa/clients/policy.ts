import { UaaError } from '../errors.ts';
import { hasScope } from '../edge/access.ts';
import type { Client } from '../tables.ts';
import type { HeldToken } from '../tokens/token-guard.ts';

type Powers = Pick<Client, 'scope' | 'authorities' | 'authorized_grant_types'>;

/**
 * Whoever may write clients but not administer them hands on what they have themselves, or what is named after their own client,
 * and nothing else: otherwise a new client would be a way to any power. Errors: insufficient_scope.
 */
export function assertMayGrant(held: HeldToken, powers: Powers): void {
  if (hasScope(held, 'clients.admin')) return;
  const { client, claims } = held;
  const own = new Set([...client.scope, ...client.authorities, ...claims.scope, 'openid', 'uaa.none']);
  const beyond = [...powers.scope, ...powers.authorities].filter(
    (scope) => scope.includes('*') || (!own.has(scope) && !scope.startsWith(`${client.client_id}.`)),
  );
  if (beyond.length > 0) {
    throw new UaaError('insufficient_scope', `clients.admin is needed to grant ${beyond.join(', ')}`);
  }
  if (powers.authorized_grant_types.includes('password')) {
    throw new UaaError('insufficient_scope', 'clients.admin is needed to grant the password grant type');
  }
}
