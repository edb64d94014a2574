-- Which app may reach which, on which ports of its containers.

create table network_policies (
  id bigint generated always as identity primary key,
  source_guid text not null references apps (guid) on delete cascade,
  destination_guid text not null references apps (guid) on delete cascade,
  protocol text not null check (protocol in ('tcp', 'udp')),
  first_port integer not null check (first_port between 1 and 65535),
  last_port integer not null check (last_port between first_port and 65535),
  created_at timestamptz not null default now(),
  unique (source_guid, destination_guid, protocol, first_port, last_port)
);
create index network_policies_destination on network_policies (destination_guid);

-- One number for the whole table, by which DEAs see that they have missed a change. It begins at the time, so that the number of a
-- database that was made anew is none that a DEA remembers. Its lock puts changes in order.
create table network_policies_revision (
  is_only boolean primary key default true check (is_only),
  revision bigint not null
);
insert into network_policies_revision (revision) values (extract(epoch from now())::bigint);

create function count_network_policies_change() returns trigger language plpgsql as $$
begin
  if exists (select 1 from changed) then
    update network_policies_revision set revision = revision + 1;
  end if;
  return null;
end $$;
create trigger network_policies_added after insert on network_policies
  referencing new table as changed for each statement execute function count_network_policies_change();
-- Those of an app go with it.
create trigger network_policies_removed after delete on network_policies
  referencing old table as changed for each statement execute function count_network_policies_change();
