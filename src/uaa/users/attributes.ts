import type { Attributes } from '../scim/attributes.ts';

/** SCIM's names of a user's attributes, in lower case, and the columns that hold them. */
export const USER_ATTRIBUTES: Attributes = {
  id: { column: 'id', type: 'exact' },
  username: { column: 'user_name', type: 'text' },
  origin: { column: 'origin', type: 'exact' },
  externalid: { column: 'external_id', type: 'exact' },
  active: { column: 'active', type: 'boolean' },
  verified: { column: 'verified', type: 'boolean' },
  email: { column: 'email', type: 'text' },
  emails: { column: 'email', type: 'text' },
  'emails.value': { column: 'email', type: 'text' },
  phonenumber: { column: 'phone_number', type: 'text' },
  phonenumbers: { column: 'phone_number', type: 'text' },
  'phonenumbers.value': { column: 'phone_number', type: 'text' },
  givenname: { column: 'given_name', type: 'text' },
  'name.givenname': { column: 'given_name', type: 'text' },
  familyname: { column: 'family_name', type: 'text' },
  'name.familyname': { column: 'family_name', type: 'text' },
  created: { column: 'created_at', type: 'time' },
  'meta.created': { column: 'created_at', type: 'time' },
  lastmodified: { column: 'updated_at', type: 'time' },
  'meta.lastmodified': { column: 'updated_at', type: 'time' },
  'meta.version': { column: 'version', type: 'number' },
  lastlogontime: { column: 'last_logon_at', type: 'time' },
  previouslogontime: { column: 'previous_logon_at', type: 'time' },
};
