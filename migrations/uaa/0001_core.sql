-- What the UAA keeps. Every time is a timestamptz; secrets, codes and session ids are kept as hashes only.

create table users (
  id text primary key,
  user_name text not null,
  origin text not null,
  external_id text,
  given_name text,
  family_name text,
  email text not null,
  phone_number text,
  active boolean not null default true,
  verified boolean not null default true,
  password_hash text,
  password_changed_at timestamptz not null default now(),
  token_salt text not null,
  version integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_logon_at timestamptz,
  previous_logon_at timestamptz
);
create unique index users_user_name_origin on users (lower(user_name), origin);
create index users_email on users (lower(email));
create index users_created_at on users (created_at, id);
create index users_external_id on users (external_id) where external_id is not null;

create table groups (
  id text primary key,
  display_name text not null,
  description text not null default '',
  is_default boolean not null default false,
  version integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index groups_display_name on groups (lower(display_name));

create table group_members (
  group_id text not null references groups on delete cascade,
  member_id text not null,
  type text not null check (type in ('USER', 'GROUP')),
  origin text not null,
  created_at timestamptz not null default now(),
  primary key (group_id, member_id)
);
create index group_members_member_id on group_members (member_id);

create table clients (
  client_id text primary key,
  name text,
  secret_hashes text[] not null default '{}',
  scope text[] not null default '{}',
  authorities text[] not null default '{}',
  resource_ids text[] not null default '{}',
  authorized_grant_types text[] not null default '{}',
  redirect_uri text[] not null default '{}',
  autoapprove text[] not null default '{}',
  allowedproviders text[],
  access_token_validity integer,
  refresh_token_validity integer,
  allowpublic boolean not null default false,
  has_redirect_wildcards boolean not null default false,
  additional jsonb not null default '{}',
  token_salt text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table approvals (
  user_id text not null references users on delete cascade,
  client_id text not null references clients on delete cascade,
  scope text not null,
  status text not null check (status in ('APPROVED', 'DENIED')),
  expires_at timestamptz not null,
  updated_at timestamptz not null default now(),
  primary key (user_id, client_id, scope)
);

create table signing_keys (
  kid text primary key,
  private_key text not null,
  created_at timestamptz not null default now(),
  signs_from timestamptz not null default now()
);

create table refresh_tokens (
  jti text primary key,
  family_id text not null,
  user_id text not null references users on delete cascade,
  client_id text not null references clients on delete cascade,
  scope text[] not null,
  grant_type text not null,
  auth_time timestamptz not null,
  nonce text,
  issued_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz
);
create index refresh_tokens_family_id on refresh_tokens (family_id);
create index refresh_tokens_user_id on refresh_tokens (user_id);
create index refresh_tokens_client_id on refresh_tokens (client_id);
create index refresh_tokens_expires_at on refresh_tokens (expires_at);

-- Tokens that are over before they expire: one by its jti, or all that a user or a client got until a moment.
create table revocations (
  kind text not null check (kind in ('jti', 'user_id', 'client_id')),
  id text not null,
  issued_until timestamptz not null,
  expires_at timestamptz not null,
  primary key (kind, id)
);
create index revocations_expires_at on revocations (expires_at);

create table authorization_codes (
  code_hash text primary key,
  client_id text not null references clients on delete cascade,
  user_id text not null references users on delete cascade,
  redirect_uri text,
  scope text[] not null,
  code_challenge text,
  code_challenge_method text,
  nonce text,
  auth_time timestamptz not null,
  family_id text not null,
  expires_at timestamptz not null,
  used_at timestamptz
);
create index authorization_codes_expires_at on authorization_codes (expires_at);

-- One-time words that a person carries from one place to another: passcodes, links for a new password.
create table one_time_codes (
  code_hash text primary key,
  purpose text not null check (purpose in ('passcode', 'password_reset', 'sign_in_state')),
  user_id text references users on delete cascade,
  data jsonb not null default '{}',
  expires_at timestamptz not null
);
create index one_time_codes_expires_at on one_time_codes (expires_at);

create table sessions (
  id_hash text primary key,
  user_id text not null references users on delete cascade,
  auth_time timestamptz not null,
  created_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index sessions_user_id on sessions (user_id);
create index sessions_expires_at on sessions (expires_at);

create table sign_in_attempts (
  subject text primary key,
  attempts integer not null,
  first_at timestamptz not null default now(),
  last_at timestamptz not null default now()
);

create table audit_events (
  id bigint generated always as identity primary key,
  at timestamptz not null,
  event text not null,
  user_id text,
  client_id text,
  origin text,
  remote_address text,
  data jsonb not null default '{}'
);
create index audit_events_at on audit_events (at);

-- Secrets that all UAAs of one database share, such as the one that form tokens are made with.
create table shared_secrets (
  name text primary key,
  value text not null
);
