import type { ColumnType, Generated, JSONColumnType, Selectable } from 'kysely';

type Defaulted<T> = ColumnType<T, T | undefined, T>;
type Json = JSONColumnType<Record<string, unknown>, string | undefined>;

interface Users {
  id: string;
  user_name: string;
  origin: string;
  external_id: string | null;
  given_name: string | null;
  family_name: string | null;
  email: string;
  phone_number: string | null;
  active: Defaulted<boolean>;
  verified: Defaulted<boolean>;
  password_hash: string | null;
  password_changed_at: Defaulted<Date>;
  token_salt: string;
  version: Defaulted<number>;
  created_at: Defaulted<Date>;
  updated_at: Defaulted<Date>;
  last_logon_at: Date | null;
  previous_logon_at: Date | null;
}

interface Groups {
  id: string;
  display_name: string;
  description: Defaulted<string>;
  is_default: Defaulted<boolean>;
  version: Defaulted<number>;
  created_at: Defaulted<Date>;
  updated_at: Defaulted<Date>;
}

interface GroupMembers {
  group_id: string;
  member_id: string;
  type: 'USER' | 'GROUP';
  origin: string;
  created_at: Defaulted<Date>;
}

interface Clients {
  client_id: string;
  name: string | null;
  secret_hashes: Defaulted<string[]>;
  scope: Defaulted<string[]>;
  authorities: Defaulted<string[]>;
  resource_ids: Defaulted<string[]>;
  authorized_grant_types: Defaulted<string[]>;
  redirect_uri: Defaulted<string[]>;
  autoapprove: Defaulted<string[]>;
  allowedproviders: string[] | null;
  access_token_validity: number | null;
  refresh_token_validity: number | null;
  allowpublic: Defaulted<boolean>;
  has_redirect_wildcards: Defaulted<boolean>;
  additional: Json;
  token_salt: string;
  created_at: Defaulted<Date>;
  updated_at: Defaulted<Date>;
}

interface Approvals {
  user_id: string;
  client_id: string;
  scope: string;
  status: 'APPROVED' | 'DENIED';
  expires_at: Date;
  updated_at: Defaulted<Date>;
}

interface SigningKeys {
  kid: string;
  private_key: string;
  created_at: Defaulted<Date>;
  signs_from: Defaulted<Date>;
}

interface RefreshTokens {
  jti: string;
  family_id: string;
  user_id: string;
  client_id: string;
  scope: string[];
  grant_type: string;
  auth_time: Date;
  nonce: string | null;
  issued_at: Defaulted<Date>;
  expires_at: Date;
  used_at: Date | null;
  access_jti: string | null;
  access_expires_at: Date | null;
}

interface AuthorizationCodes {
  code_hash: string;
  client_id: string;
  user_id: string;
  redirect_uri: string | null;
  scope: string[];
  code_challenge: string | null;
  code_challenge_method: string | null;
  nonce: string | null;
  auth_time: Date;
  family_id: string;
  expires_at: Date;
  used_at: Date | null;
  access_jti: string | null;
  tokens_expire_at: Date | null;
}

interface OneTimeCodes {
  code_hash: string;
  purpose: 'passcode' | 'password_reset' | 'sign_in_state';
  user_id: string | null;
  data: Json;
  expires_at: Date;
}

interface Sessions {
  id_hash: string;
  user_id: string;
  auth_time: Date;
  created_at: Defaulted<Date>;
  last_seen_at: Defaulted<Date>;
  expires_at: Date;
}

interface SignInAttempts {
  subject: string;
  attempts: number;
  first_at: Defaulted<Date>;
  last_at: Defaulted<Date>;
}

interface AuditEvents {
  id: Generated<number>;
  at: Date;
  event: string;
  user_id: string | null;
  client_id: string | null;
  origin: string | null;
  remote_address: string | null;
  data: Json;
}

export interface UaaTables {
  users: Users;
  groups: Groups;
  group_members: GroupMembers;
  clients: Clients;
  approvals: Approvals;
  signing_keys: SigningKeys;
  refresh_tokens: RefreshTokens;
  revocations: { kind: 'jti' | 'user_id' | 'client_id'; id: string; issued_until: Date; expires_at: Date };
  authorization_codes: AuthorizationCodes;
  one_time_codes: OneTimeCodes;
  sessions: Sessions;
  sign_in_attempts: SignInAttempts;
  audit_events: AuditEvents;
  shared_secrets: { name: string; value: string };
}

export type User = Selectable<Users>;
export type Group = Selectable<Groups>;
export type GroupMember = Selectable<GroupMembers>;
export type Client = Selectable<Clients>;
export type RefreshTokenRecord = Selectable<RefreshTokens>;
export type AuthorizationCodeRecord = Selectable<AuthorizationCodes>;
export type SigningKeyRecord = Selectable<SigningKeys>;
