-- Lists filter and order by it as by any resource's; an event never changes.
alter table app_usage_events add column updated_at timestamptz generated always as (created_at) stored;
