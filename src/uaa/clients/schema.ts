import { z } from 'zod';
import { UaaError } from '../errors.ts';
import type { Client } from '../tables.ts';
import type { ClientProperties } from './store.ts';

const text = z
  .string()
  .max(4096)
  .refine((value) => !value.includes('\0'), 'has a null character');
/** A list, or as old clients send it, one text with commas. */
const List = z.union([
  z.array(text),
  text.transform((all) =>
    all
      .split(',')
      .map((one) => one.trim())
      .filter((one) => one !== ''),
  ),
]);
const Validity = z.number().int().min(1).max(315_360_000).nullish();

/** A client as UAA's clients API takes it; what is not here is kept as it is and given back. */
export const ClientBody = z.looseObject({
  client_id: text.min(1).max(255).optional(),
  client_secret: text.nullish(),
  name: text.nullish(),
  scope: List.nullish(),
  authorities: List.nullish(),
  resource_ids: List.nullish(),
  authorized_grant_types: List.nullish(),
  redirect_uri: List.nullish(),
  autoapprove: z.union([z.boolean(), List]).nullish(),
  allowedproviders: List.nullish(),
  access_token_validity: Validity,
  refresh_token_validity: Validity,
  allowpublic: z.union([z.boolean(), z.enum(['true', 'false']).transform((word) => word === 'true')]).nullish(),
  has_redirect_wildcards: z.boolean().nullish(),
});
export type ClientBody = z.infer<typeof ClientBody>;

const KNOWN = new Set([...Object.keys(ClientBody.shape), 'lastModified', 'action', 'approvals_deleted']);

/** Errors: invalid_request for what makes no client. */
export function propertiesOf(body: ClientBody, knownGrantTypes: readonly string[]): ClientProperties {
  const authorized_grant_types = body.authorized_grant_types ?? [];
  if (authorized_grant_types.length === 0) throw invalid('An authorized grant type must be provided');
  const unknown = authorized_grant_types.find((type) => !knownGrantTypes.includes(type));
  if (unknown !== undefined) {
    throw invalid(`${unknown} is not an allowed grant type. Must be one of: ${knownGrantTypes.join(', ')}`);
  }
  const redirect_uri = body.redirect_uri ?? [];
  const has_redirect_wildcards = body.has_redirect_wildcards ?? false;
  if (authorized_grant_types.includes('authorization_code') && redirect_uri.length === 0) {
    throw invalid('authorization_code grant type requires at least one redirect_uri');
  }
  for (const uri of redirect_uri) assertRedirectUri(uri, has_redirect_wildcards);
  return {
    name: body.name ?? null,
    scope: body.scope ?? ['uaa.none'],
    authorities: body.authorities ?? ['uaa.none'],
    resource_ids: body.resource_ids ?? [],
    authorized_grant_types,
    redirect_uri,
    autoapprove: body.autoapprove === true ? ['true'] : body.autoapprove === false ? [] : (body.autoapprove ?? []),
    allowedproviders: body.allowedproviders ?? null,
    access_token_validity: body.access_token_validity ?? null,
    refresh_token_validity: body.refresh_token_validity ?? null,
    allowpublic: body.allowpublic ?? false,
    has_redirect_wildcards,
    additional: Object.fromEntries(Object.entries(body).filter(([name]) => !KNOWN.has(name))),
  };
}

function assertRedirectUri(uri: string, hasWildcards: boolean): void {
  const match =
    /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^#]*)$/i.exec(uri) ??
    /^([a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+):(\/)([^#]*)$/i.exec(uri);
  if (!match || /[\s\\]/.test(uri) || /^(javascript|data|vbscript|file|blob):/i.test(uri)) {
    throw invalid(`One of the redirect_uri is invalid: ${uri.slice(0, 200)}`);
  }
  if (!hasWildcards) return;
  // At least the last two labels of the host are the client's own word.
  const host = (match[2] ?? '').replace(/:\d+$/, '');
  if (
    host.includes('*') &&
    host
      .split('.')
      .slice(-2)
      .some((label) => label.includes('*'))
  ) {
    throw invalid(`A wildcard may not stand for a whole domain: ${uri.slice(0, 200)}`);
  }
}

export const invalid = (message: string): UaaError => new UaaError('invalid_request', message);

/** A client in UAA's form; its secret is never in it. */
export function presentClient(client: Client): Record<string, unknown> {
  return {
    ...client.additional,
    client_id: client.client_id,
    ...(client.name !== null && { name: client.name }),
    scope: client.scope,
    authorities: client.authorities,
    resource_ids: client.resource_ids.length === 0 ? ['none'] : client.resource_ids,
    authorized_grant_types: client.authorized_grant_types,
    redirect_uri: client.redirect_uri,
    autoapprove: client.autoapprove.includes('true') ? true : client.autoapprove,
    ...(client.allowedproviders !== null && { allowedproviders: client.allowedproviders }),
    ...(client.access_token_validity !== null && { access_token_validity: client.access_token_validity }),
    ...(client.refresh_token_validity !== null && { refresh_token_validity: client.refresh_token_validity }),
    ...(client.allowpublic && { allowpublic: true }),
    ...(client.has_redirect_wildcards && { has_redirect_wildcards: true }),
    lastModified: client.updated_at.getTime(),
  };
}
