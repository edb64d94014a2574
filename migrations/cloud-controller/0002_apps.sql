-- Apps and what becomes of them: bits, builds, droplets, processes, and how they change.

create table apps (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  space_guid text not null references spaces (guid),
  state text not null default 'STOPPED' check (state in ('STARTED', 'STOPPED')),
  lifecycle_type text not null default 'buildpack',
  buildpacks jsonb not null default '[]',
  stack text,
  environment_variables jsonb not null default '{}',
  -- the current droplet; its row may go before the app does
  droplet_guid text,
  -- null: as the platform has it
  ssh_enabled boolean,
  revisions_enabled boolean not null default true,
  service_binding_k8s_enabled boolean not null default false,
  file_based_vcap_services_enabled boolean not null default false,
  next_task_sequence_id integer not null default 1,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index apps_name on apps (space_guid, lower(name));
create index apps_labels on apps using gin (labels);

-- During a rolling deployment an app has several processes of the type web; the newest is the one that the API means.
create table processes (
  id bigint generated always as identity primary key,
  guid text not null unique,
  app_guid text not null references apps (guid) on delete cascade,
  type text not null,
  state text not null default 'STOPPED' check (state in ('STARTED', 'STOPPED')),
  -- new at each start: instances of another version are not ours any more
  version text not null,
  -- what the user said; null: what the droplet says
  command text,
  "user" text,
  instances integer not null default 1,
  memory_in_mb integer not null,
  disk_in_mb integer not null,
  log_rate_limit_in_bytes_per_second bigint not null,
  health_check jsonb not null default '{"type":"port","data":{}}',
  readiness_health_check jsonb not null default '{"type":"process","data":{}}',
  -- fixed at the last start, so that an instance that crashed comes back as it was; null while never started
  started_as jsonb,
  revision_guid text,
  deployment_guid text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index processes_app on processes (app_guid, type);
create index processes_desired on processes (id) where state = 'STARTED';

create table sidecars (
  id bigint generated always as identity primary key,
  guid text not null unique,
  app_guid text not null references apps (guid) on delete cascade,
  name text not null,
  command text not null,
  process_types jsonb not null default '[]',
  memory_in_mb integer,
  origin text not null default 'user',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint sidecars_name unique (app_guid, name)
);

create table packages (
  id bigint generated always as identity primary key,
  guid text not null unique,
  app_guid text not null references apps (guid) on delete cascade,
  type text not null check (type in ('bits', 'docker')),
  state text not null,
  error text,
  sha256 text,
  size_in_bytes bigint,
  docker_image text,
  docker_username text,
  docker_password text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index packages_app on packages (app_guid, id);
create index packages_unfinished on packages (updated_at) where state in ('PROCESSING_UPLOAD', 'COPYING');

create table droplets (
  id bigint generated always as identity primary key,
  guid text not null unique,
  app_guid text not null references apps (guid) on delete cascade,
  package_guid text,
  build_guid text,
  state text not null,
  error text,
  lifecycle_type text not null default 'buildpack',
  buildpacks jsonb not null default '[]',
  stack text,
  image text,
  process_types jsonb,
  execution_metadata text not null default '',
  sha256 text,
  size_in_bytes bigint,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index droplets_app on droplets (app_guid, id);
create index droplets_package on droplets (package_guid);
create index droplets_unfinished on droplets (updated_at) where state in ('PROCESSING_UPLOAD', 'COPYING');

create table builds (
  id bigint generated always as identity primary key,
  guid text not null unique,
  app_guid text not null references apps (guid) on delete cascade,
  package_guid text not null,
  droplet_guid text,
  state text not null default 'STAGING' check (state in ('STAGING', 'STAGED', 'FAILED')),
  error text,
  lifecycle_type text not null default 'buildpack',
  buildpacks jsonb not null default '[]',
  stack text,
  staging_memory_in_mb integer not null,
  staging_disk_in_mb integer not null,
  staging_log_rate_limit_bytes_per_second bigint not null default -1,
  created_by_guid text,
  created_by_name text,
  created_by_email text,
  -- the DEA that took it; null while one is looked for, by whoever holds the lease
  dea text,
  leased_until timestamptz,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index builds_app on builds (app_guid, id);
create index builds_package on builds (package_guid);
create unique index builds_one_at_a_time on builds (app_guid) where state = 'STAGING';

create table revisions (
  id bigint generated always as identity primary key,
  guid text not null unique,
  app_guid text not null references apps (guid) on delete cascade,
  version integer not null,
  droplet_guid text,
  environment_variables jsonb not null default '{}',
  processes jsonb not null default '{}',
  sidecars jsonb not null default '[]',
  description text not null default '',
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint revisions_version unique (app_guid, version)
);

create table deployments (
  id bigint generated always as identity primary key,
  guid text not null unique,
  app_guid text not null references apps (guid) on delete cascade,
  strategy text not null default 'rolling' check (strategy in ('rolling', 'canary')),
  status_value text not null default 'ACTIVE' check (status_value in ('ACTIVE', 'FINALIZED')),
  status_reason text not null default 'DEPLOYING',
  max_in_flight integer not null default 1,
  web_instances integer not null,
  options jsonb not null default '{}',
  canary_step integer not null default 1,
  canary_steps jsonb not null default '[]',
  droplet_guid text,
  previous_droplet_guid text,
  revision_guid text,
  revision_version integer,
  new_process_guid text,
  -- as it was before, for cancelling
  original_web_instances integer not null default 0,
  error text,
  last_healthy_at timestamptz not null default now(),
  status_changed_at timestamptz not null default now(),
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index deployments_one_at_a_time on deployments (app_guid) where status_value = 'ACTIVE';
create index deployments_app on deployments (app_guid, id);

create table tasks (
  id bigint generated always as identity primary key,
  guid text not null unique,
  app_guid text not null references apps (guid) on delete cascade,
  sequence_id integer not null,
  name text not null,
  command text not null,
  "user" text,
  state text not null default 'PENDING' check (state in ('PENDING', 'RUNNING', 'SUCCEEDED', 'CANCELING', 'FAILED')),
  memory_in_mb integer not null,
  disk_in_mb integer not null,
  log_rate_limit_in_bytes_per_second bigint not null,
  failure_reason text,
  droplet_guid text,
  environment_variables jsonb not null default '{}',
  dea text,
  leased_until timestamptz,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint tasks_sequence unique (app_guid, sequence_id)
);
create index tasks_unfinished on tasks (id) where state in ('PENDING', 'RUNNING', 'CANCELING');

create table route_destinations (
  id bigint generated always as identity primary key,
  guid text not null unique,
  route_guid text not null references routes (guid) on delete cascade,
  app_guid text not null references apps (guid) on delete cascade,
  process_type text not null default 'web',
  port integer,
  protocol text,
  weight integer,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint route_destinations_once unique nulls not distinct (route_guid, app_guid, process_type, port)
);
create index route_destinations_app on route_destinations (app_guid);
