/** The tables of `migrations/cloud-controller/0002_apps.sql`, column by column. */
import type { Generated, Selectable } from 'kysely';
import type { Common, Json, Timestamp, WithMetadata } from './tables.ts';

export type DesiredState = 'STARTED' | 'STOPPED';
export type EnvironmentVariables = Record<string, string>;

export interface Apps extends Common, WithMetadata {
  name: string;
  space_guid: string;
  state: Generated<DesiredState>;
  lifecycle_type: Generated<'buildpack' | 'docker' | 'cnb'>;
  buildpacks: Json<string[]>;
  stack: string | null;
  environment_variables: Json<EnvironmentVariables>;
  droplet_guid: string | null;
  ssh_enabled: boolean | null;
  revisions_enabled: Generated<boolean>;
  service_binding_k8s_enabled: Generated<boolean>;
  file_based_vcap_services_enabled: Generated<boolean>;
  next_task_sequence_id: Generated<number>;
}

export interface NetworkPolicies {
  id: Generated<number>;
  source_guid: string;
  destination_guid: string;
  protocol: 'tcp' | 'udp';
  first_port: number;
  last_port: number;
  created_at: Timestamp;
}
/** One row. */
export interface NetworkPoliciesRevision {
  is_only: Generated<boolean>;
  revision: number;
}

export interface ProcessHealthCheck {
  type: 'port' | 'process' | 'http';
  data: {
    /** Seconds. */
    timeout?: number | null;
    invocation_timeout?: number | null;
    interval?: number | null;
    endpoint?: string | null;
  };
}
export interface SidecarSpec {
  name: string;
  command: string;
  process_types: string[];
  memory_in_mb: number | null;
}
/** What the instances of a process are started with, fixed at its last start. */
export interface StartedAs {
  droplet_guid: string;
  command: string;
  environment_variables: EnvironmentVariables;
  memory_in_mb: number;
  disk_in_mb: number;
  log_rate_limit_in_bytes_per_second: number;
  health_check: ProcessHealthCheck;
  readiness_health_check: ProcessHealthCheck;
  sidecars: SidecarSpec[];
  /** Absent in what was started before there was a choice. */
  isolation_segment?: string | null;
}
export interface Processes extends Common, WithMetadata {
  app_guid: string;
  type: string;
  state: Generated<DesiredState>;
  version: string;
  command: string | null;
  user: string | null;
  instances: Generated<number>;
  memory_in_mb: number;
  disk_in_mb: number;
  log_rate_limit_in_bytes_per_second: number;
  health_check: Json<ProcessHealthCheck>;
  readiness_health_check: Json<ProcessHealthCheck>;
  started_as: Json<StartedAs | null>;
  revision_guid: string | null;
  deployment_guid: string | null;
}
export interface Sidecars extends Common {
  app_guid: string;
  name: string;
  command: string;
  process_types: Json<string[]>;
  memory_in_mb: number | null;
  origin: Generated<'user' | 'buildpack'>;
}
export type PackageState = 'AWAITING_UPLOAD' | 'PROCESSING_UPLOAD' | 'READY' | 'FAILED' | 'COPYING' | 'EXPIRED';
export interface Packages extends Common, WithMetadata {
  app_guid: string;
  type: 'bits' | 'docker';
  state: PackageState;
  error: string | null;
  sha256: string | null;
  size_in_bytes: number | null;
  docker_image: string | null;
  docker_username: string | null;
  docker_password: string | null;
}
export interface DropletBuildpack {
  name: string;
  detect_output: string;
  version: string | null;
  buildpack_name: string;
}
export type DropletState = 'AWAITING_UPLOAD' | 'PROCESSING_UPLOAD' | 'COPYING' | 'STAGED' | 'FAILED' | 'EXPIRED';
export interface Droplets extends Common, WithMetadata {
  app_guid: string;
  package_guid: string | null;
  build_guid: string | null;
  state: DropletState;
  error: string | null;
  lifecycle_type: Generated<'buildpack' | 'docker' | 'cnb'>;
  buildpacks: Json<DropletBuildpack[]>;
  stack: string | null;
  image: string | null;
  process_types: Json<Record<string, string> | null>;
  execution_metadata: Generated<string>;
  sha256: string | null;
  size_in_bytes: number | null;
}
export interface Builds extends Common, WithMetadata {
  app_guid: string;
  package_guid: string;
  droplet_guid: string | null;
  state: Generated<'STAGING' | 'STAGED' | 'FAILED'>;
  error: string | null;
  lifecycle_type: Generated<'buildpack' | 'docker' | 'cnb'>;
  buildpacks: Json<string[]>;
  stack: string | null;
  staging_memory_in_mb: number;
  staging_disk_in_mb: number;
  staging_log_rate_limit_bytes_per_second: Generated<number>;
  created_by_guid: string | null;
  created_by_name: string | null;
  created_by_email: string | null;
  dea: string | null;
  leased_until: Date | null;
}
export interface Revisions extends Common, WithMetadata {
  app_guid: string;
  version: number;
  droplet_guid: string | null;
  environment_variables: Json<EnvironmentVariables>;
  processes: Json<Record<string, { command: string | null }>>;
  sidecars: Json<SidecarSpec[]>;
  description: Generated<string>;
}
export type DeploymentReason = 'DEPLOYING' | 'PAUSED' | 'DEPLOYED' | 'CANCELING' | 'CANCELED' | 'SUPERSEDED';
export interface Deployments extends Common, WithMetadata {
  app_guid: string;
  strategy: Generated<'rolling' | 'canary'>;
  status_value: Generated<'ACTIVE' | 'FINALIZED'>;
  status_reason: Generated<DeploymentReason>;
  max_in_flight: Generated<number>;
  web_instances: number;
  options: Json<Record<string, unknown>>;
  canary_step: Generated<number>;
  canary_steps: Json<{ instance_weight: number }[]>;
  droplet_guid: string | null;
  previous_droplet_guid: string | null;
  revision_guid: string | null;
  revision_version: number | null;
  new_process_guid: string | null;
  original_web_instances: Generated<number>;
  error: string | null;
  last_healthy_at: Timestamp;
  status_changed_at: Timestamp;
}
export type TaskState = 'PENDING' | 'RUNNING' | 'SUCCEEDED' | 'CANCELING' | 'FAILED';
export interface Tasks extends Common, WithMetadata {
  app_guid: string;
  sequence_id: number;
  name: string;
  command: string;
  user: string | null;
  state: Generated<TaskState>;
  memory_in_mb: number;
  disk_in_mb: number;
  log_rate_limit_in_bytes_per_second: number;
  failure_reason: string | null;
  droplet_guid: string | null;
  environment_variables: Json<EnvironmentVariables>;
  dea: string | null;
  leased_until: Date | null;
}
export interface RouteDestinations extends Common {
  route_guid: string;
  app_guid: string;
  process_type: Generated<string>;
  port: number | null;
  protocol: string | null;
  weight: number | null;
}

export interface AppTables {
  network_policies: NetworkPolicies;
  network_policies_revision: NetworkPoliciesRevision;
  apps: Apps;
  processes: Processes;
  sidecars: Sidecars;
  packages: Packages;
  droplets: Droplets;
  builds: Builds;
  revisions: Revisions;
  deployments: Deployments;
  tasks: Tasks;
  route_destinations: RouteDestinations;
}
export type AppRow = Selectable<Apps>;
export type ProcessRow = Selectable<Processes>;
export type SidecarRow = Selectable<Sidecars>;
export type PackageRow = Selectable<Packages>;
export type DropletRow = Selectable<Droplets>;
export type BuildRow = Selectable<Builds>;
export type RevisionRow = Selectable<Revisions>;
export type DeploymentRow = Selectable<Deployments>;
export type TaskRow = Selectable<Tasks>;
