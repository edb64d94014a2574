-- Clients of the UAA that were made for the dashboards of brokers: a row is there before the client is made, and goes after the client
-- is gone. One whose broker is gone is to be removed.
create table service_dashboard_clients (
  client_id text primary key,
  service_broker_guid text references service_brokers (guid) on delete set null,
  created_at timestamptz not null default now()
);
create index service_dashboard_clients_broker on service_dashboard_clients (service_broker_guid);
