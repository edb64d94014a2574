/** The tables of `migrations/cloud-controller/0010_services.sql`, column by column. */
import type { Generated, Selectable } from 'kysely';
import type { Common, Json, Timestamp, WithMetadata } from './tables.ts';

export type OperationType = 'create' | 'update' | 'delete';
export type OperationState = 'initial' | 'in progress' | 'succeeded' | 'failed';
export type BrokerState =
  | 'SYNCHRONIZING'
  | 'SYNCHRONIZATION_FAILED'
  | 'AVAILABLE'
  | 'DELETE_IN_PROGRESS'
  | 'DELETE_FAILED';

/** The last thing that was done to an instance or a binding, and by which job. */
export interface WithOperation {
  operation_type: Generated<OperationType>;
  operation_state: Generated<OperationState>;
  operation_description: Generated<string>;
  operation_created_at: Timestamp;
  operation_updated_at: Timestamp;
  operation_job_guid: string | null;
}

/** Of `0030_service_usage_events.sql`. */
export interface ServiceUsageEvents extends Omit<Common, 'updated_at'> {
  state: string;
  space_guid: string;
  space_name: string;
  organization_guid: string;
  service_instance_guid: string;
  service_instance_name: string;
  service_instance_type: string;
  service_plan_guid: string | null;
  service_plan_name: string | null;
  service_offering_guid: string | null;
  service_offering_name: string | null;
  service_broker_guid: string | null;
  service_broker_name: string | null;
}
export interface ServiceBrokers extends Common, WithMetadata {
  name: string;
  url: string;
  username: string;
  password_sealed: string;
  space_guid: string | null;
  state: Generated<BrokerState>;
  job_guid: string | null;
}
export interface ServiceOfferings extends Common, WithMetadata {
  service_broker_guid: string;
  catalog_id: string;
  name: string;
  description: Generated<string>;
  available: Generated<boolean>;
  bindable: Generated<boolean>;
  plan_updateable: Generated<boolean>;
  instances_retrievable: Generated<boolean>;
  bindings_retrievable: Generated<boolean>;
  allow_context_updates: Generated<boolean>;
  tags: Json<string[]>;
  requires: Json<string[]>;
  catalog_metadata: Json<Record<string, unknown>>;
}
export interface MaintenanceInfo {
  version?: string | undefined;
  description?: string | undefined;
}
export type VisibilityType = 'public' | 'admin' | 'organization' | 'space';
export interface ServicePlans extends Common, WithMetadata {
  service_offering_guid: string;
  catalog_id: string;
  name: string;
  description: Generated<string>;
  available: Generated<boolean>;
  free: Generated<boolean>;
  bindable: boolean | null;
  plan_updateable: boolean | null;
  /** Seconds. */
  maximum_polling_duration: number | null;
  maintenance_info: Json<MaintenanceInfo>;
  schemas: Json<Record<string, unknown>>;
  catalog_metadata: Json<Record<string, unknown>>;
  visibility_type: Generated<VisibilityType>;
}
export interface ServiceInstances extends Common, WithMetadata, WithOperation {
  name: string;
  type: 'managed' | 'user-provided';
  space_guid: string;
  service_plan_guid: string | null;
  tags: Json<string[]>;
  credentials_sealed: string | null;
  syslog_drain_url: string | null;
  route_service_url: string | null;
  dashboard_url: string | null;
  maintenance_info: Json<MaintenanceInfo>;
  broker_provided_metadata: Json<Record<string, unknown>>;
}
export interface ServiceCredentialBindings extends Common, WithMetadata, WithOperation {
  type: 'app' | 'key';
  name: string | null;
  service_instance_guid: string;
  app_guid: string | null;
  credentials_sealed: string | null;
  syslog_drain_url: string | null;
  volume_mounts: Json<unknown[]>;
}
export interface ServiceRouteBindings extends Common, WithMetadata, WithOperation {
  service_instance_guid: string;
  route_guid: string;
  route_service_url: string | null;
}

export interface ServiceTables {
  service_brokers: ServiceBrokers;
  service_dashboard_clients: { client_id: string; service_broker_guid: string | null };
  service_usage_events: ServiceUsageEvents;
  service_offerings: ServiceOfferings;
  service_plans: ServicePlans;
  service_plan_visibilities: { service_plan_guid: string; organization_guid: string };
  service_instances: ServiceInstances;
  service_instance_shares: { service_instance_guid: string; space_guid: string };
  service_credential_bindings: ServiceCredentialBindings;
  service_route_bindings: ServiceRouteBindings;
}
export type ServiceBrokerRow = Selectable<ServiceBrokers>;
export type ServiceOfferingRow = Selectable<ServiceOfferings>;
export type ServicePlanRow = Selectable<ServicePlans>;
export type ServiceInstanceRow = Selectable<ServiceInstances>;
export type ServiceCredentialBindingRow = Selectable<ServiceCredentialBindings>;
export type ServiceRouteBindingRow = Selectable<ServiceRouteBindings>;
export type OperationColumns = Selectable<WithOperation>;
