/** The tables of `migrations/cloud-controller/0001_core.sql`, column by column, for the query builder. */
import type { ColumnType, Generated, Kysely, Selectable, Transaction } from 'kysely';
import type { AppTables } from './tables-apps.ts';
import type { ServiceTables } from './tables-services.ts';

export type CcTables = CoreTables & AppTables & ServiceTables;
/** Where a statement runs: the pool, or inside a transaction. Stores take either. */
export type Db = Kysely<CcTables>;
export type Trx = Transaction<CcTables>;

/** jsonb: read as a value, written as its JSON text. */
export type Json<T> = ColumnType<T, string | undefined, string>;
/** Set by the database at insert; `updated_at` is set by hand at update. */
export type Timestamp = ColumnType<Date, Date | undefined, Date>;

export interface Common {
  id: Generated<number>;
  guid: string;
  created_at: Timestamp;
  updated_at: Timestamp;
}
export interface WithMetadata {
  labels: Json<Record<string, string>>;
  annotations: Json<Record<string, string>>;
}

export interface QuotaLimits {
  total_memory_in_mb: number | null;
  per_process_memory_in_mb: number | null;
  total_instances: number | null;
  per_app_tasks: number | null;
  log_rate_limit_in_bytes_per_second: number | null;
  paid_services_allowed: Generated<boolean>;
  total_service_instances: number | null;
  total_service_keys: number | null;
  total_routes: number | null;
  total_reserved_ports: number | null;
}

export interface OrganizationQuotas extends Common, QuotaLimits {
  name: string;
  total_domains: number | null;
}
export interface SpaceQuotas extends Common, QuotaLimits {
  name: string;
  organization_guid: string;
}
export interface IsolationSegments extends Common, WithMetadata {
  name: string;
}
export interface Organizations extends Common, WithMetadata {
  name: string;
  suspended: Generated<boolean>;
  quota_guid: string;
  default_isolation_segment_guid: string | null;
}
export interface Spaces extends Common, WithMetadata {
  name: string;
  organization_guid: string;
  quota_guid: string | null;
  isolation_segment_guid: string | null;
  allow_ssh: Generated<boolean>;
}
export interface Users extends Common, WithMetadata {
  username: string | null;
  origin: string | null;
}
export interface Roles extends Common {
  type: string;
  user_guid: string;
  organization_guid: string | null;
  space_guid: string | null;
}
export interface Domains extends Common, WithMetadata {
  name: string;
  internal: Generated<boolean>;
  router_group_guid: string | null;
  /** null: shared with all organizations. */
  organization_guid: string | null;
  enforce_route_policies: Generated<boolean>;
  route_policies_scope: RoutePoliciesScope | null;
}
export type RoutePoliciesScope = 'any' | 'org' | 'space';
export interface RoutePolicies extends Common, WithMetadata {
  route_guid: string;
  source_type: 'app' | 'space' | 'org' | 'any';
  source_guid: string;
}
export interface RouteOptions {
  loadbalancing?: 'round-robin' | 'least-connection' | 'hash';
  hash_header?: string;
  hash_balance?: string;
}
export interface Routes extends Common, WithMetadata {
  host: Generated<string>;
  path: Generated<string>;
  port: number | null;
  domain_guid: string;
  space_guid: string;
  options: Json<RouteOptions>;
}
export interface SecurityGroupRule {
  protocol: 'tcp' | 'udp' | 'icmp' | 'icmpv6' | 'all';
  destination: string;
  ports?: string;
  type?: number;
  code?: number;
  log?: boolean;
  description?: string;
}
export interface SecurityGroups extends Common {
  name: string;
  rules: Json<SecurityGroupRule[]>;
  running_default: Generated<boolean>;
  staging_default: Generated<boolean>;
}
export interface Stacks extends Common, WithMetadata {
  name: string;
  description: string | null;
  state: Generated<string>;
  state_reason: string | null;
}
export interface Buildpacks extends Common, WithMetadata {
  name: string;
  stack: string | null;
  lifecycle: Generated<string>;
  state: Generated<string>;
  position: number;
  enabled: Generated<boolean>;
  locked: Generated<boolean>;
  filename: string | null;
  checksum: string | null;
}
export interface AuditEvents extends Common {
  type: string;
  actor_guid: string;
  actor_type: string;
  actor_name: string;
  target_guid: string;
  target_type: string;
  target_name: string;
  data: Json<Record<string, unknown>>;
  space_guid: string | null;
  organization_guid: string | null;
}
export interface AppUsageEvents extends Omit<Common, 'updated_at'> {
  state: string;
  previous_state: string | null;
  app_guid: string | null;
  app_name: string | null;
  process_guid: string | null;
  process_type: string | null;
  space_guid: string | null;
  space_name: string | null;
  organization_guid: string | null;
  buildpack_guid: string | null;
  buildpack_name: string | null;
  task_guid: string | null;
  task_name: string | null;
  memory_in_mb_per_instance: number | null;
  previous_memory_in_mb_per_instance: number | null;
  instance_count: number | null;
  previous_instance_count: number | null;
}
export type JobState = 'PROCESSING' | 'POLLING' | 'COMPLETE' | 'FAILED';
export interface JobError {
  code: number;
  title: string;
  detail: string;
}
export interface Jobs extends Common {
  operation: string;
  state: ColumnType<JobState, JobState | undefined, JobState>;
  resource_type: string | null;
  resource_guid: string | null;
  payload: Json<unknown>;
  user_guid: string | null;
  errors: Json<JobError[]>;
  warnings: Json<{ detail: string }[]>;
  attempts: Generated<number>;
  run_at: Timestamp;
  locked_by: string | null;
  locked_until: Date | null;
  request_id: string | null;
}

export interface CoreTables {
  organization_quotas: OrganizationQuotas;
  space_quotas: SpaceQuotas;
  isolation_segments: IsolationSegments;
  isolation_segment_organizations: {
    isolation_segment_guid: string;
    organization_guid: string;
    created_at: Timestamp;
  };
  organizations: Organizations;
  spaces: Spaces;
  users: Users;
  roles: Roles;
  domains: Domains;
  domain_shared_organizations: { domain_guid: string; organization_guid: string };
  routes: Routes;
  route_policies: RoutePolicies;
  route_shared_spaces: { route_guid: string; space_guid: string };
  security_groups: SecurityGroups;
  security_group_spaces: { security_group_guid: string; space_guid: string; phase: 'running' | 'staging' };
  stacks: Stacks;
  buildpacks: Buildpacks;
  feature_flags: { name: string; enabled: boolean; custom_error_message: string | null; updated_at: Timestamp };
  environment_variable_groups: {
    name: 'running' | 'staging';
    var: Json<Record<string, string>>;
    updated_at: Timestamp;
  };
  audit_events: AuditEvents;
  app_usage_events: AppUsageEvents;
  jobs: Jobs;
}
export type OrganizationRow = Selectable<Organizations>;
export type SpaceRow = Selectable<Spaces>;
export type DomainRow = Selectable<Domains>;
export type RouteRow = Selectable<Routes>;
export type UserRow = Selectable<Users>;
export type RoleRow = Selectable<Roles>;
export type JobRow = Selectable<Jobs>;
