-- What our brokers know. A row is written before anything is made for it, so that whatever dies half-way is found again.
create table instances (
  guid text primary key,
  service text not null,
  plan_id text not null,
  parameters jsonb not null,
  -- What the service itself noted, such as its port.
  details jsonb not null default '{}',
  context jsonb not null default '{}',
  -- 'making' until it is whole; 'ending' as soon as anything of it may be gone.
  state text not null check (state in ('making', 'ready', 'ending')),
  -- The last operation that went on after its answer.
  operation text,
  operation_verb text check (operation_verb in ('provision', 'update', 'deprovision')),
  operation_state text check (operation_state in ('in progress', 'succeeded', 'failed')),
  operation_description text not null default '',
  operation_input jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index instances_service on instances (service);
create index instances_under_way on instances (guid) where operation_state = 'in progress';

create table bindings (
  guid text primary key,
  instance_guid text not null references instances,
  parameters jsonb not null,
  app_guid text,
  state text not null check (state in ('making', 'ready')),
  created_at timestamptz not null default now()
);
create index bindings_instance on bindings (instance_guid);

-- One port belongs to one instance, whoever asks at the same time.
create table ports (
  port int primary key,
  instance_guid text not null unique references instances on delete cascade
);

create table backups (
  key text primary key,
  instance_guid text not null references instances on delete cascade,
  size_bytes bigint not null,
  by_clock boolean not null,
  created_at timestamptz not null default now()
);
create index backups_instance on backups (instance_guid, created_at);
