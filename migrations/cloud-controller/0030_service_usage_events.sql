-- What service instances there were, of which plan, and when: for billing. Kept when the instance is gone, so without references.
create table service_usage_events (
  id bigint generated always as identity primary key,
  guid text not null unique,
  state text not null check (state in ('CREATED', 'UPDATED', 'DELETED')),
  space_guid text not null,
  space_name text not null,
  organization_guid text not null,
  service_instance_guid text not null,
  service_instance_name text not null,
  service_instance_type text not null,
  service_plan_guid text,
  service_plan_name text,
  service_offering_guid text,
  service_offering_name text,
  service_broker_guid text,
  service_broker_name text,
  created_at timestamptz not null default now(),
  -- Lists filter and order by it as by any resource's; an event never changes.
  updated_at timestamptz generated always as (created_at) stored
);
create index service_usage_events_created_at on service_usage_events (created_at);

-- Those that are there already begin to be used now.
insert into service_usage_events (guid, state, space_guid, space_name, organization_guid, service_instance_guid,
  service_instance_name, service_instance_type, service_plan_guid, service_plan_name, service_offering_guid,
  service_offering_name, service_broker_guid, service_broker_name)
select gen_random_uuid()::text, 'CREATED', spaces.guid, spaces.name, spaces.organization_guid, service_instances.guid,
  service_instances.name,
  case service_instances.type when 'managed' then 'managed_service_instance' else 'user_provided_service_instance' end,
  service_plans.guid, service_plans.name, service_offerings.guid, service_offerings.name, service_brokers.guid,
  service_brokers.name
from service_instances
join spaces on spaces.guid = service_instances.space_guid
left join service_plans on service_plans.guid = service_instances.service_plan_guid
left join service_offerings on service_offerings.guid = service_plans.service_offering_guid
left join service_brokers on service_brokers.guid = service_offerings.service_broker_guid
order by service_instances.id;
