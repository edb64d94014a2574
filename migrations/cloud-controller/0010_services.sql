-- Services: what brokers offer, instances of it, and what is bound to them. Columns named *_sealed hold secrets, encrypted
-- with the key of the configuration.

create table service_brokers (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  url text not null,
  username text not null,
  password_sealed text not null,
  -- null: for the whole platform
  space_guid text references spaces (guid),
  state text not null default 'SYNCHRONIZING' check (state in (
    'SYNCHRONIZING', 'SYNCHRONIZATION_FAILED', 'AVAILABLE', 'DELETE_IN_PROGRESS', 'DELETE_FAILED')),
  -- the job that works on it; when it has ended, the broker is free again
  job_guid text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index service_brokers_name on service_brokers (name);
create index service_brokers_space on service_brokers (space_guid);

create table service_offerings (
  id bigint generated always as identity primary key,
  guid text not null unique,
  service_broker_guid text not null references service_brokers (guid),
  catalog_id text not null,
  name text not null,
  description text not null default '',
  available boolean not null default true,
  bindable boolean not null default true,
  plan_updateable boolean not null default false,
  instances_retrievable boolean not null default false,
  bindings_retrievable boolean not null default false,
  allow_context_updates boolean not null default false,
  tags jsonb not null default '[]',
  requires jsonb not null default '[]',
  catalog_metadata jsonb not null default '{}',
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index service_offerings_catalog on service_offerings (service_broker_guid, catalog_id);
create index service_offerings_name on service_offerings (lower(name));

create table service_plans (
  id bigint generated always as identity primary key,
  guid text not null unique,
  service_offering_guid text not null references service_offerings (guid),
  catalog_id text not null,
  name text not null,
  description text not null default '',
  available boolean not null default true,
  free boolean not null default true,
  -- null: as the offering has it
  bindable boolean,
  plan_updateable boolean,
  maximum_polling_duration integer,
  maintenance_info jsonb not null default '{}',
  schemas jsonb not null default '{}',
  catalog_metadata jsonb not null default '{}',
  visibility_type text not null default 'admin' check (visibility_type in ('public', 'admin', 'organization', 'space')),
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index service_plans_catalog on service_plans (service_offering_guid, catalog_id);

create table service_plan_visibilities (
  service_plan_guid text not null references service_plans (guid) on delete cascade,
  organization_guid text not null references organizations (guid) on delete cascade,
  primary key (service_plan_guid, organization_guid)
);
create index service_plan_visibilities_organization on service_plan_visibilities (organization_guid);

create table service_instances (
  id bigint generated always as identity primary key,
  guid text not null unique,
  name text not null,
  type text not null check (type in ('managed', 'user-provided')),
  space_guid text not null references spaces (guid),
  service_plan_guid text references service_plans (guid),
  tags jsonb not null default '[]',
  credentials_sealed text,
  syslog_drain_url text,
  route_service_url text,
  dashboard_url text,
  maintenance_info jsonb not null default '{}',
  broker_provided_metadata jsonb not null default '{}',
  operation_type text not null default 'create' check (operation_type in ('create', 'update', 'delete')),
  operation_state text not null default 'succeeded'
    check (operation_state in ('initial', 'in progress', 'succeeded', 'failed')),
  operation_description text not null default '',
  operation_created_at timestamptz not null default now(),
  operation_updated_at timestamptz not null default now(),
  -- the job that carries the operation out
  operation_job_guid text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check ((type = 'managed') = (service_plan_guid is not null))
);
create unique index service_instances_name on service_instances (space_guid, name);
create index service_instances_plan on service_instances (service_plan_guid);
create index service_instances_busy on service_instances (id) where operation_state in ('initial', 'in progress');

create table service_instance_shares (
  service_instance_guid text not null references service_instances (guid) on delete cascade,
  space_guid text not null references spaces (guid) on delete cascade,
  primary key (service_instance_guid, space_guid)
);
create index service_instance_shares_space on service_instance_shares (space_guid);

-- Bindings of both kinds end before what they bind: nothing cascades, so that none is forgotten at a broker.
create table service_credential_bindings (
  id bigint generated always as identity primary key,
  guid text not null unique,
  type text not null check (type in ('app', 'key')),
  name text,
  service_instance_guid text not null references service_instances (guid),
  app_guid text references apps (guid),
  credentials_sealed text,
  syslog_drain_url text,
  volume_mounts jsonb not null default '[]',
  operation_type text not null default 'create' check (operation_type in ('create', 'delete')),
  operation_state text not null default 'succeeded'
    check (operation_state in ('initial', 'in progress', 'succeeded', 'failed')),
  operation_description text not null default '',
  operation_created_at timestamptz not null default now(),
  operation_updated_at timestamptz not null default now(),
  operation_job_guid text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check ((type = 'app') = (app_guid is not null))
);
create index service_credential_bindings_instance on service_credential_bindings (service_instance_guid);
create index service_credential_bindings_app on service_credential_bindings (app_guid);
create unique index service_credential_bindings_key on service_credential_bindings (service_instance_guid, name)
  where type = 'key';
create index service_credential_bindings_drain on service_credential_bindings (id) where syslog_drain_url is not null;
create index service_credential_bindings_busy on service_credential_bindings (id)
  where operation_state in ('initial', 'in progress');

create table service_route_bindings (
  id bigint generated always as identity primary key,
  guid text not null unique,
  service_instance_guid text not null references service_instances (guid),
  route_guid text not null references routes (guid),
  route_service_url text,
  operation_type text not null default 'create' check (operation_type in ('create', 'delete')),
  operation_state text not null default 'succeeded'
    check (operation_state in ('initial', 'in progress', 'succeeded', 'failed')),
  operation_description text not null default '',
  operation_created_at timestamptz not null default now(),
  operation_updated_at timestamptz not null default now(),
  operation_job_guid text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
-- A route has one service at most.
create unique index service_route_bindings_route on service_route_bindings (route_guid);
create index service_route_bindings_instance on service_route_bindings (service_instance_guid);
