-- Which apps may reach a route of a domain that enforces route policies.

alter table domains
  add column enforce_route_policies boolean not null default false,
  add column route_policies_scope text check (route_policies_scope in ('any', 'org', 'space')),
  add check (not enforce_route_policies or route_policies_scope is not null);

create table route_policies (
  id bigint generated always as identity primary key,
  guid text not null unique,
  route_guid text not null references routes (guid) on delete cascade,
  source_type text not null check (source_type in ('app', 'space', 'org', 'any')),
  -- Of no reference: what it names may be gone, or may be another's. Empty for `any`.
  source_guid text not null check ((source_guid = '') = (source_type = 'any')),
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint route_policies_source unique (route_guid, source_type, source_guid)
);
create index route_policies_source_guid on route_policies (source_guid);
