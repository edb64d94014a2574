import { z } from 'zod';
import { UaaError } from '../errors.ts';
import type { Client } from '../tables.ts';
import type { Grant } from '../tokens/issuer.ts';

/** The parameters of a form or a query, each at most once. */
export type Parameters = Readonly<Record<string, string>>;

/** A token request of a client that proved itself. */
export interface GrantRequest {
  client: Client;
  /** Whether it had a secret to prove itself by; a public client has none. */
  isConfidential: boolean;
  parameters: Parameters;
  remote_address: string;
}

/** Decides one kind of token request; what it returns is issued as it stands. */
export type GrantHandler = (request: GrantRequest) => Promise<Grant>;

/** Errors: invalid_request. */
export function requireParameter(parameters: Parameters, name: string): string {
  const value = parameters[name];
  if (value === undefined || value === '') throw new UaaError('invalid_request', `Missing parameter: ${name}`);
  return value;
}

const LoginHint = z.object({ origin: z.string().min(1) });

/** The identity provider that `login_hint` names: `{"origin":"…"}`, perhaps URL-encoded. Errors: invalid_request. */
export function originOf(login_hint: string | undefined): string | undefined {
  if (login_hint === undefined || login_hint === '') return undefined;
  try {
    const text = login_hint.startsWith('%') ? decodeURIComponent(login_hint) : login_hint;
    return LoginHint.parse(JSON.parse(text)).origin;
  } catch (error) {
    throw new UaaError('invalid_request', 'The login_hint is not {"origin":"…"}', { cause: error });
  }
}
