-- Who may do what where, names of the world (domains, routes), and what the platform offers. `id` keeps the order of
-- creation, which is the order of every list that asks for no other; all references are by guid, as on the wire.

create table organization_quotas (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  total_memory_in_mb bigint,
  per_process_memory_in_mb bigint,
  total_instances bigint,
  per_app_tasks bigint,
  log_rate_limit_in_bytes_per_second bigint,
  paid_services_allowed boolean not null default true,
  total_service_instances bigint,
  total_service_keys bigint,
  total_routes bigint,
  total_reserved_ports bigint,
  total_domains bigint,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index organization_quotas_name on organization_quotas (lower(name));

create table isolation_segments (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index isolation_segments_name on isolation_segments (lower(name));

create table organizations (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  suspended boolean not null default false,
  quota_guid text not null references organization_quotas (guid),
  default_isolation_segment_guid text references isolation_segments (guid),
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index organizations_name on organizations (lower(name));
create index organizations_quota on organizations (quota_guid);
create index organizations_labels on organizations using gin (labels);

create table isolation_segment_organizations (
  isolation_segment_guid text not null references isolation_segments (guid) on delete cascade,
  organization_guid text not null references organizations (guid) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (isolation_segment_guid, organization_guid)
);
create index isolation_segment_organizations_organization on isolation_segment_organizations (organization_guid);

create table space_quotas (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  organization_guid text not null references organizations (guid) on delete cascade,
  total_memory_in_mb bigint,
  per_process_memory_in_mb bigint,
  total_instances bigint,
  per_app_tasks bigint,
  log_rate_limit_in_bytes_per_second bigint,
  paid_services_allowed boolean not null default true,
  total_service_instances bigint,
  total_service_keys bigint,
  total_routes bigint,
  total_reserved_ports bigint,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index space_quotas_name on space_quotas (organization_guid, lower(name));

create table spaces (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  organization_guid text not null references organizations (guid),
  quota_guid text references space_quotas (guid) on delete set null,
  isolation_segment_guid text references isolation_segments (guid),
  allow_ssh boolean not null default true,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index spaces_name on spaces (organization_guid, lower(name));
create index spaces_quota on spaces (quota_guid);
create index spaces_labels on spaces using gin (labels);

-- A user is known here from the first request or role on; name and origin are the UAA's, kept to save asking it.
create table users (
  id bigint generated always as identity primary key,
  guid text not null unique,
  username text,
  origin text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index users_username on users (lower(username));

create table roles (
  id bigint generated always as identity primary key,
  guid text not null unique,
  type text not null,
  user_guid text not null references users (guid) on delete cascade,
  organization_guid text references organizations (guid) on delete cascade,
  space_guid text references spaces (guid) on delete cascade,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint roles_once unique nulls not distinct (user_guid, type, organization_guid, space_guid),
  constraint roles_place check ((organization_guid is null) <> (space_guid is null))
);
create index roles_organization on roles (organization_guid);
create index roles_space on roles (space_guid);

create table domains (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  internal boolean not null default false,
  router_group_guid text,
  -- null: shared with all
  organization_guid text references organizations (guid),
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index domains_name on domains (lower(name));
create index domains_organization on domains (organization_guid);

create table domain_shared_organizations (
  domain_guid text not null references domains (guid) on delete cascade,
  organization_guid text not null references organizations (guid) on delete cascade,
  primary key (domain_guid, organization_guid)
);
create index domain_shared_organizations_organization on domain_shared_organizations (organization_guid);

create table routes (
  id bigint generated always as identity primary key,
  guid text not null unique,
  host text not null default '',
  path text not null default '',
  port integer,
  domain_guid text not null references domains (guid),
  space_guid text not null references spaces (guid),
  options jsonb not null default '{}',
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index routes_address on routes (domain_guid, lower(host), lower(path), coalesce(port, 0));
create index routes_space on routes (space_guid);
create index routes_labels on routes using gin (labels);

create table route_shared_spaces (
  route_guid text not null references routes (guid) on delete cascade,
  space_guid text not null references spaces (guid) on delete cascade,
  primary key (route_guid, space_guid)
);
create index route_shared_spaces_space on route_shared_spaces (space_guid);

create table security_groups (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  rules jsonb not null default '[]',
  running_default boolean not null default false,
  staging_default boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index security_groups_name on security_groups (lower(name));

create table security_group_spaces (
  security_group_guid text not null references security_groups (guid) on delete cascade,
  space_guid text not null references spaces (guid) on delete cascade,
  phase text not null check (phase in ('running', 'staging')),
  primary key (security_group_guid, space_guid, phase)
);
create index security_group_spaces_space on security_group_spaces (space_guid);

create table stacks (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  description text,
  state text not null default 'ACTIVE',
  state_reason text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index stacks_name on stacks (lower(name));

create table buildpacks (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  stack text,
  lifecycle text not null default 'buildpack',
  state text not null default 'AWAITING_UPLOAD',
  position integer not null,
  enabled boolean not null default true,
  locked boolean not null default false,
  filename text,
  -- sha256 of the bits, and with the guid their key in the blobstore
  checksum text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint buildpacks_name unique nulls not distinct (name, stack, lifecycle)
);

create table feature_flags (
  name text primary key,
  enabled boolean not null,
  custom_error_message text,
  updated_at timestamptz not null default now()
);

create table environment_variable_groups (
  name text primary key check (name in ('running', 'staging')),
  var jsonb not null default '{}',
  updated_at timestamptz not null default now()
);

-- No references: an event outlives what it tells of.
create table audit_events (
  id bigint generated always as identity primary key,
  guid text not null unique,
  type text not null,
  actor_guid text not null,
  actor_type text not null,
  actor_name text not null,
  target_guid text not null,
  target_type text not null,
  target_name text not null,
  data jsonb not null default '{}',
  space_guid text,
  organization_guid text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index audit_events_target on audit_events (target_guid, id);
create index audit_events_space on audit_events (space_guid, id);
create index audit_events_organization on audit_events (organization_guid, id);
create index audit_events_created_at on audit_events (created_at);

create table app_usage_events (
  id bigint generated always as identity primary key,
  guid text not null unique,
  state text not null,
  previous_state text,
  app_guid text,
  app_name text,
  process_guid text,
  process_type text,
  space_guid text,
  space_name text,
  organization_guid text,
  buildpack_guid text,
  buildpack_name text,
  task_guid text,
  task_name text,
  memory_in_mb_per_instance bigint,
  previous_memory_in_mb_per_instance bigint,
  instance_count bigint,
  previous_instance_count bigint,
  created_at timestamptz not null default now()
);
create index app_usage_events_created_at on app_usage_events (created_at);

-- The queue of asynchronous work. A worker holds a job by a lease that it renews; a lease that ran out is up for grabs.
create table jobs (
  id bigint generated always as identity primary key,
  guid text not null unique,
  operation text not null,
  state text not null default 'PROCESSING' check (state in ('PROCESSING', 'POLLING', 'COMPLETE', 'FAILED')),
  resource_type text,
  resource_guid text,
  payload jsonb not null default '{}',
  user_guid text,
  errors jsonb not null default '[]',
  warnings jsonb not null default '[]',
  attempts integer not null default 0,
  run_at timestamptz not null default now(),
  locked_by text,
  locked_until timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index jobs_due on jobs (run_at) where state in ('PROCESSING', 'POLLING');
create index jobs_ended on jobs (updated_at) where state in ('COMPLETE', 'FAILED');
