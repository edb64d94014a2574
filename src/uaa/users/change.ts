import { UaaError } from '../errors.ts';
import type { User } from '../tables.ts';
import type { ScimUserBody } from './schema.ts';
import type { NewUser, UserChange } from './store.ts';

/** UAA's rule for names of its own users; other origins have their own. */
const USER_NAME = /^[\p{L}+0-9\-_.@'!]+$/u;

/** Errors: invalid_scim_resource. */
export function newUserOf(body: ScimUserBody): Omit<NewUser, 'password_hash'> {
  const origin = body.origin == null || body.origin === '' ? 'uaa' : body.origin;
  return { origin, ...fullyOf(body, origin) };
}

/**
 * What PUT (all of the user is in the body) or PATCH (what is in the body changes, what `meta.attributes` names is emptied)
 * changes. Errors: invalid_scim_resource.
 */
export function changeOf(body: ScimUserBody, before: User, method: 'PUT' | 'PATCH'): UserChange {
  const origin = body.origin == null || body.origin === '' ? before.origin : body.origin;
  if (origin !== before.origin) throw new UaaError('invalid_scim_resource', 'The origin of a user does not change');
  if (method === 'PUT') return fullyOf(body, origin);
  const dropped = new Set((body.meta?.attributes ?? []).map((name) => name.toLowerCase()));
  const change: UserChange = {};
  if (dropped.has('externalid')) change.external_id = null;
  if (dropped.has('phonenumbers')) change.phone_number = null;
  if (dropped.has('name') || dropped.has('name.givenname')) change.given_name = null;
  if (dropped.has('name') || dropped.has('name.familyname')) change.family_name = null;
  if (body.userName !== undefined) change.user_name = userNameOf(body, origin);
  if (body.emails) change.email = emailOf(body);
  if (body.externalId != null) change.external_id = body.externalId;
  if (body.name?.givenName != null) change.given_name = body.name.givenName;
  if (body.name?.familyName != null) change.family_name = body.name.familyName;
  if (body.phoneNumbers) change.phone_number = body.phoneNumbers[0]?.value ?? null;
  if (body.active != null) change.active = body.active;
  if (body.verified != null) change.verified = body.verified;
  return change;
}

function fullyOf(body: ScimUserBody, origin: string): Omit<NewUser, 'password_hash' | 'origin'> {
  return {
    user_name: userNameOf(body, origin),
    email: emailOf(body),
    external_id: body.externalId ?? null,
    given_name: body.name?.givenName ?? null,
    family_name: body.name?.familyName ?? null,
    phone_number: body.phoneNumbers?.[0]?.value ?? null,
    active: body.active ?? true,
    verified: body.verified ?? true,
  };
}

function userNameOf(body: ScimUserBody, origin: string): string {
  const name = body.userName ?? '';
  if (name.trim() === '') throw new UaaError('invalid_scim_resource', 'A username must be provided.');
  if (origin === 'uaa' && !USER_NAME.test(name)) {
    throw new UaaError('invalid_scim_resource', 'Username must match unicode letter pattern: ' + USER_NAME.source);
  }
  return name;
}

function emailOf(body: ScimUserBody): string {
  const email = (body.emails?.find((entry) => entry.primary === true) ?? body.emails?.[0])?.value ?? '';
  if (email.trim() === '') throw new UaaError('invalid_scim_resource', 'An email must be provided.');
  return email;
}
