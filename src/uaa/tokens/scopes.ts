import { UaaError } from '../errors.ts';

/** The words of a space-separated scope parameter, each once; undefined when it is absent or blank. */
export function parseScope(text: string | undefined): string[] | undefined {
  const words = (text ?? '').split(/[\s,]+/).filter((word) => word !== '');
  return words.length === 0 ? undefined : [...new Set(words)];
}

/** Whether a client's entry stands for `scope`; `*` in it stands for any text without a dot, as in `space.*.developer`. */
export function isCovered(scope: string, entries: readonly string[]): boolean {
  return entries.some((entry) => {
    if (!entry.includes('*')) return entry === scope;
    const pattern = entry.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    return new RegExp(`^${pattern.join('[^.]+')}$`).test(scope);
  });
}

/**
 * What a token may say of a user: the scopes asked for (all that the client has, when none are) of which the user is a member.
 * Errors: invalid_scope when the client has no right to one of them, or when nothing is left.
 */
export function userScopes(
  asked: readonly string[] | undefined,
  clientScopes: readonly string[],
  userGroups: readonly string[],
): string[] {
  const foreign = (asked ?? []).filter((scope) => !isCovered(scope, clientScopes));
  if (foreign.length > 0) {
    throw new UaaError(
      'invalid_scope',
      `Invalid scope: ${foreign.join(' ')}. Did you know that you can get default requested scopes by simply sending no value?`,
    );
  }
  const wanted = asked ?? userGroups.filter((group) => isCovered(group, clientScopes));
  const granted = wanted.filter((scope) => userGroups.includes(scope));
  if (granted.length === 0) {
    throw new UaaError('invalid_scope', 'Invalid scope (empty) - this user is not allowed any of the requested scopes');
  }
  return granted;
}

/** What a token may say of a client itself. Errors: invalid_scope for one that is not among its authorities. */
export function clientScopes(asked: readonly string[] | undefined, authorities: readonly string[]): string[] {
  const foreign = (asked ?? []).filter((scope) => !isCovered(scope, authorities));
  if (foreign.length > 0) throw new UaaError('invalid_scope', `Invalid scope: ${foreign.join(' ')}`);
  return [...(asked ?? authorities)];
}

/** Whom a token is meant for: what stands before the last dot of each scope, and the client. */
export function audienceOf(scopes: readonly string[], client_id: string): string[] {
  const audience = scopes.map((scope) => (scope.includes('.') ? scope.slice(0, scope.lastIndexOf('.')) : scope));
  return [...new Set([client_id, ...audience])];
}
