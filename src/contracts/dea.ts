/**
 * What a DEA says and hears over NATS. Source: cloudfoundry/dea_ng README, and architecture decisions 1 to 8: `droplet` is
 * the guid of a process, `app` the app's, `version` the process's version. Memory and disk in MB unless a name says more.
 */
import { z } from 'zod';
import { exchange, topic } from './topic.ts';

export const DeaAdvertise = z.object({
  id: z.string().describe('uuid of the DEA; new at each start of a DEA that holds nothing'),
  ip: z.string(),
  version: z.string(),
  stacks: z.array(z.string()),
  available_memory: z.number().describe('MB'),
  total_memory: z.number().optional().describe('MB; what it could ever give'),
  total_disk: z.number().optional(),
  available_disk: z.number().describe('MB'),
  app_id_to_count: z.record(z.string(), z.number().int()).describe('process guid to number of instances'),
  placement_properties: z.object({
    zone: z.string(),
    isolation_segment: z.string().optional().describe('its name; without one the DEA is of the shared segment'),
  }),
});
export type DeaAdvertise = z.infer<typeof DeaAdvertise>;

export const DeaShutdown = z.object({
  id: z.string(),
  ip: z.string(),
  version: z.string(),
  app_id_to_count: z.record(z.string(), z.number().int()),
});

/** Said at start and every 5 s; what placement goes by. */
export const deaAdvertise = topic('dea.advertise', DeaAdvertise);
/** Asks every DEA to advertise now (a cloud controller that has just started). */
export const deaLocate = topic('dea.locate', z.object({}));
/** Said once when a DEA takes no more work: it stops or evacuates. */
export const deaShutdown = topic('dea.shutdown', DeaShutdown);

export const InstanceState = z.enum(['STARTING', 'RUNNING', 'CRASHED', 'EVACUATING', 'STOPPING']);
export type InstanceState = z.infer<typeof InstanceState>;

export const HeartbeatInstance = z.object({
  cc_partition: z.string(),
  droplet: z.string().describe('guid of the process'),
  app: z.string(),
  version: z.string(),
  instance: z.string().describe('guid of the instance'),
  index: z.number().int(),
  state: InstanceState,
  state_timestamp: z.number().describe('seconds since the epoch'),
  routable: z.boolean().describe('whether the router is told of it: running, and ready if it has a readiness check'),
  host: z.string().optional(),
  port: z.number().int().optional().describe('host port of the first exposed port'),
  container_ip: z.string().optional(),
});
export type HeartbeatInstance = z.infer<typeof HeartbeatInstance>;

export const InstanceUsage = z.object({
  cpu: z.number().describe('fraction of one core over the last interval'),
  cpu_entitlement: z
    .number()
    .optional()
    .describe("`cpu` by the part of the machine's cores that its memory entitles it to"),
  mem: z.number().describe('bytes'),
  disk: z.number().describe('bytes'),
  log_rate: z.number().describe('bytes per second'),
  time: z.string().describe('RFC 3339, when it was measured'),
});
export type InstanceUsage = z.infer<typeof InstanceUsage>;

/**
 * What a DEA holds, said so that it costs what changed (docs/adr/0006-beats-of-what-changed.md). The list of a DEA has a number,
 * `seq`, one higher with each change that is told. A beat with `changes` leads from the list before to this one; one with `droplets`
 * is the whole list; one with neither says that the list is still this. placeBeat() says what a hearer does with it; whoever
 * lacks the list asks on `dea.beat`.
 */
export const DeaHeartbeat = z.object({
  dea: z.string(),
  run: z.string().describe("new at each start of the DEA's process: `seq` counts within it"),
  seq: z.number().int(),
  digest: z.string().describe('beatDigest() of the list'),
  droplets: z.array(HeartbeatInstance).optional(),
  changes: z
    .object({ held: z.array(HeartbeatInstance).describe('new or not as before'), gone: z.array(z.string()) })
    .optional(),
});
export type DeaHeartbeat = z.infer<typeof DeaHeartbeat>;

export const deaHeartbeat = topic('dea.heartbeat', DeaHeartbeat);
/**
 * Asks for beats at once: the DEA named for its whole list, or every DEA. With `is_short` whatever is due will do, by which one
 * learns whose lists one lacks: a thousand whole lists at once would drown the asker.
 */
export const deaBeat = topic('dea.beat', z.object({ dea: z.string().optional(), is_short: z.boolean().optional() }));

export const DeaUsage = z.object({
  dea: z.string(),
  usage: z.record(z.string(), InstanceUsage).describe('by instance guid'),
});
/** What instances use, every few beats; on a subject of its own, since it is most of what a DEA says and few want it. */
export const deaUsage = topic('dea.usage', DeaUsage);

export const ExitReason = z.enum(['CRASHED', 'STOPPED', 'DEA_SHUTDOWN', 'DEA_EVACUATION']);
export type ExitReason = z.infer<typeof ExitReason>;

/** Said the moment an instance is gone. `crash_timestamp` in seconds, for crashes only. */
export const DropletExited = z.object({
  cc_partition: z.string(),
  dea: z.string(),
  droplet: z.string(),
  app: z.string(),
  version: z.string(),
  instance: z.string(),
  index: z.number().int(),
  reason: ExitReason,
  exit_status: z.number().int().describe('-1 when it is not known'),
  exit_description: z.string(),
  last_output: z.array(z.string()).optional().describe('the last lines that it wrote, for crashes only'),
  crash_timestamp: z.number().optional(),
});
export type DropletExited = z.infer<typeof DropletExited>;
export const dropletExited = topic('droplet.exited', DropletExited);

export const HealthCheck = z.object({
  type: z.enum(['port', 'http', 'process']),
  endpoint: z.string().optional().describe('path for http'),
  invocation_timeout_s: z.number().optional().describe('one probe; 1 s unless said'),
  interval_s: z.number().optional().describe('between probes once it runs; 30 s unless said'),
  timeout_s: z.number().optional().describe('for the first success after start; 60 s unless said'),
});
export type HealthCheck = z.infer<typeof HealthCheck>;

/** One rule of a security group as Cloud Foundry's API has it. */
export const EgressRule = z.object({
  protocol: z.enum(['tcp', 'udp', 'icmp', 'icmpv6', 'all']),
  destination: z.string().describe('address, CIDR, or first-last'),
  ports: z.string().optional().describe('"80", "1-1024" or "80,443"'),
  type: z.number().int().optional(),
  code: z.number().int().optional(),
  log: z.boolean().optional(),
  description: z.string().optional(),
});
export type EgressRule = z.infer<typeof EgressRule>;

export const Limits = z.object({
  mem: z.number().int().describe('MB'),
  disk: z.number().int().describe('MB'),
  fds: z.number().int(),
  log_rate: z.number().int().describe('bytes per second; -1 for no limit'),
});
export type Limits = z.infer<typeof Limits>;

export const Sidecar = z.object({ name: z.string(), command: z.string(), memory_in_mb: z.number().int().optional() });

/** What a router is told of some URIs besides where they lead: by URI. */
const RouteOptions = z.record(
  z.string(),
  z.object({
    loadbalancing: z.enum(['round-robin', 'least-connection']).optional(),
    route_service_url: z.string().optional().describe('https; requests go there first'),
    route_policy_scope: z.enum(['any', 'org', 'space']).optional(),
    route_policy_sources: z.string().optional(),
  }),
);

/** An image and the login of whoever pulls it; how it runs stands in the droplet (`image.json`), pinned when it was staged. */
export const DockerImage = z.object({
  image: z.string(),
  username: z.string().optional(),
  password: z.string().optional(),
});
export type DockerImage = z.infer<typeof DockerImage>;

/** A volume of a service binding. Source: Open Service Broker API 2.17, "Volume Mounts Object". */
export const VolumeMount = z.object({
  driver: z.string(),
  container_dir: z.string(),
  mode: z.enum(['r', 'rw']),
  device: z.object({ volume_id: z.string(), mount_config: z.record(z.string(), z.unknown()).nullish() }),
});
export type VolumeMount = z.infer<typeof VolumeMount>;

/** Service bindings of an app that asked for files; they take the place of VCAP_SERVICES. */
export const ServiceBindingFiles = z.object({
  variable: z.enum(['SERVICE_BINDING_ROOT', 'VCAP_SERVICES_FILE_PATH']),
  files: z.record(z.string(), z.string()).describe('content by path below SERVICE_BINDING_FOLDER'),
});
export type ServiceBindingFiles = z.infer<typeof ServiceBindingFiles>;
/** In the container. Source: cloud_controller_ng's documentation of service binding files. */
export const SERVICE_BINDING_FOLDER = '/etc/cf-service-bindings';
/** What the variable says: the folder, or its one file. */
export const SERVICE_BINDING_PATHS = {
  SERVICE_BINDING_ROOT: SERVICE_BINDING_FOLDER,
  VCAP_SERVICES_FILE_PATH: `${SERVICE_BINDING_FOLDER}/vcap_services`,
} as const satisfies Record<ServiceBindingFiles['variable'], string>;

/**
 * Everything that a DEA needs to run one instance (LRP) or one task. `env` is what the user and the platform's groups set,
 * in rising order of strength; the DEA adds what it alone knows (PORT, CF_INSTANCE_*, the rest of VCAP_APPLICATION).
 */
export const StartMessage = z.object({
  kind: z.enum(['LRP', 'TASK']),
  droplet: z.string().describe('guid of the process, or of the task'),
  app: z.string(),
  version: z.string(),
  instance: z.string().describe('guid that the cloud controller gives this instance'),
  index: z.number().int(),
  process_type: z.string(),
  name: z.string().describe("the app's name"),
  space_name: z.string(),
  organization_name: z.string(),
  task_name: z.string().optional(),
  stack: z.string(),
  droplet_guid: z.string(),
  droplet_uri: z.string().describe('signed URL of the droplet, a tar.gz'),
  droplet_sha256: z.string(),
  docker: DockerImage.optional().describe('the root file system is this image and not a stack'),
  start_command: z.string(),
  uris: z.array(z.string()),
  internal_uris: z
    .array(z.string())
    .default([])
    .describe('routes of internal domains, which containers find by DNS and no router knows'),
  ports: z.array(z.number().int()).describe('container ports to expose; the first is PORT; empty for none'),
  limits: Limits,
  env: z.array(z.tuple([z.string(), z.string()])),
  vcap_application: z.record(z.string(), z.unknown()),
  vcap_services: z.record(z.string(), z.unknown()),
  service_binding_files: ServiceBindingFiles.optional().describe('instead of the variable VCAP_SERVICES'),
  volume_mounts: z.array(VolumeMount).default([]),
  health_check: HealthCheck,
  readiness_health_check: HealthCheck.optional(),
  sidecars: z.array(Sidecar),
  egress_network_rules: z.array(EgressRule),
  route_options: RouteOptions.optional(),
  cc_partition: z.string(),
  graceful_shutdown_s: z.number().optional().describe('between TERM and KILL; 10 s unless said'),
});
export type StartMessage = z.infer<typeof StartMessage>;

/** An order's answer: taken, or refused for a reason that names a code (`insufficient_resources`, `evacuating`, `invalid`…). */
export const OrderReply = z.object({
  accepted: z.boolean(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});
export type OrderReply = z.infer<typeof OrderReply>;

/** Starts one instance; answered once resources are reserved, before it runs. The same instance guid twice is one start. */
export const deaStart = (dea: string) => exchange(`dea.${dea}.start`, StartMessage, OrderReply);

/**
 * Stops what matches: `droplet`, and each further field given narrows it. With `droplet` alone its staging stops as well.
 */
export const StopMessage = z.object({
  droplet: z.string(),
  version: z.string().optional(),
  instances: z.array(z.string()).optional(),
  indices: z.array(z.number().int()).optional(),
  states: z.array(InstanceState).optional(),
});
export type StopMessage = z.infer<typeof StopMessage>;
export const deaStop = topic('dea.stop', StopMessage);

/** New routes for a process: every DEA that holds instances of it registers what is new and unregisters what is gone. */
export const UpdateMessage = z.object({
  droplet: z.string(),
  uris: z.array(z.string()),
  internal_uris: z.array(z.string()).default([]),
  route_options: RouteOptions.optional(),
});
export type UpdateMessage = z.infer<typeof UpdateMessage>;
export const deaUpdate = topic('dea.update', UpdateMessage);

/** What each DEA answers to `dea.find.droplet`; one reply from each DEA that holds a match. */
export const FindDroplet = z.object({
  droplet: z.string(),
  version: z.string().optional(),
  indices: z.array(z.number().int()).optional(),
});
export const FoundDroplet = z.object({
  dea: z.string(),
  instances: z.array(HeartbeatInstance.extend({ usage: InstanceUsage.optional() })),
});
export const deaFindDroplet = exchange('dea.find.droplet', FindDroplet, FoundDroplet);
