import { z } from 'zod';
import { ReservablePorts } from '#contracts/tcp-routes.ts';
import { BlobstoreConfig } from '#blobs/config.ts';

/** The v3 API version that `GET /` announces; the cf CLI turns features on by it. */
export const API_VERSION = '3.224.0';

const Listen = z.strictObject({
  host: z.string().default('127.0.0.1'),
  port: z.number().int().min(0).max(65535),
});
const Login = z.strictObject({ user: z.string().min(1), password: z.string().min(1) });
const LogRate = z.number().int().min(-1);

export const CloudControllerConfig = z.strictObject({
  index: z.number().int().default(0),
  external: Listen.describe('the API that the router leads to'),
  internal: Listen.describe('for other components only'),
  internal_api: Login.describe('basic auth of the internal API'),
  internal_url: z.url().describe('where DEAs reach the internal API, blobs by signed URLs included'),
  route_host: z.string().default('127.0.0.1').describe('the address of the external listener that routers are told'),
  database: z.strictObject({
    url: z.string(),
    max_connections: z.number().int().min(2).default(20),
  }),
  nats: z.strictObject({
    servers: z
      .array(z.string())
      .min(1)
      .describe("nats://[user:password@]host:port; the first one's user is everybody's"),
  }),
  name: z.string().default('Ingot'),
  description: z.string().default('Cloud Foundry in one repository'),
  build: z.string().default(''),
  system_domain: z.string(),
  app_domains: z.array(z.string()).min(1).describe('shared domains made at start; the first one is the default'),
  internal_domain: z.string().default('apps.internal'),
  urls: z
    .strictObject({
      api: z.url(),
      uaa: z.url(),
      login: z.url(),
      log_cache: z.url(),
      log_stream: z.url().optional(),
      logging: z.string().optional().describe('wss://doppler…'),
      ssh: z.string().optional().describe('host:port without a scheme'),
      ssh_host_key_fingerprint: z.string().optional(),
      support: z.string().default(''),
    })
    .describe('as users reach them'),
  uaa: z.strictObject({
    url: z.url().describe('where this component reaches the UAA'),
    issuer: z.string(),
    audience: z.string().default('cloud_controller'),
    client: z
      .strictObject({ id: z.string(), secret: z.string() })
      .describe('looks up user names (scim.userids or scim.read)'),
    dashboards_client: z
      .strictObject({ id: z.string(), secret: z.string() })
      .optional()
      .describe("makes and removes clients of brokers' dashboards (clients.admin); without it there are none"),
    timeout_ms: z.number().int().default(5_000),
  }),
  blobstore: BlobstoreConfig.describe('where packages, droplets, buildpacks and caches are kept'),
  cc_partition: z.string().default('default'),
  default_stack: z.string().default('cflinuxfs4'),
  stacks: z
    .array(z.strictObject({ name: z.string(), description: z.string().default('') }))
    .default([{ name: 'cflinuxfs4', description: 'Debian 12' }])
    .describe('made at start'),
  buildpacks: z
    .array(
      z.strictObject({
        name: z.string(),
        file: z.string().describe('a zip, or a folder in the public buildpack layout'),
        stack: z.string().nullable().default(null),
      }),
    )
    .default([])
    .describe('installed at start, in this order'),
  router_groups: z
    .array(
      z.strictObject({
        guid: z.string(),
        name: z.string(),
        type: z.literal('tcp').default('tcp'),
        reservable_ports: ReservablePorts.describe('as the routers have them'),
      }),
    )
    .default([])
    .describe('what domains of TCP routes are made of'),
  encryption_key: z
    .string()
    .min(16)
    .optional()
    .describe(
      'encrypts environment variables and credentials of services in the database; without it there are no services',
    ),
  encryption_keys_file: z
    .string()
    .optional()
    .describe(
      'keys by label in a file of their own, instead of the two settings around this one; see EncryptionKeysFile',
    ),
  previous_encryption_keys: z
    .array(z.string().min(16))
    .default([])
    .describe('open what was encrypted before the key was changed'),
  defaults: z
    .strictObject({
      app_memory_mb: z.number().int().min(1).default(1024),
      app_disk_mb: z.number().int().min(1).default(1024),
      app_log_rate_limit_bytes_per_second: LogRate.default(-1),
      app_ssh_access: z.boolean().default(true),
      health_check_timeout_s: z.number().int().default(60),
      staging_memory_mb: z.number().int().default(1024),
      staging_disk_mb: z.number().int().default(4096),
      task_memory_mb: z.number().int().default(1024),
      task_disk_mb: z.number().int().default(1024),
    })
    .prefault({}),
  limits: z
    .strictObject({
      app_disk_max_mb: z.number().int().default(2048),
      health_check_timeout_max_s: z.number().int().default(180),
      instances_max: z.number().int().default(2_000_000),
      fds: z.number().int().default(16_384),
      staging_timeout_s: z.number().int().default(900),
      package_max_bytes: z.number().int().default(1_073_741_824),
      upload_max_bytes: z.number().int().default(2_147_483_648),
      body_max_bytes: z.number().int().default(15_728_640),
      manifest_max_bytes: z.number().int().default(1_048_576),
      resource_min_bytes: z.number().int().default(65_536).describe('smaller files are not matched'),
      resource_max_bytes: z.number().int().default(536_870_912),
      packages_kept: z.number().int().default(5),
      droplets_kept: z.number().int().default(5),
      revisions_kept: z.number().int().default(100),
      job_timeout_s: z.number().int().default(14_400),
      job_retention_days: z.number().int().default(90),
      event_retention_days: z.number().int().default(31),
      rate_limit: z
        .strictObject({ user_per_hour: z.number().int(), unauthenticated_per_hour: z.number().int() })
        .optional()
        .describe('absent: no limit'),
    })
    .prefault({}),
  jobs: z
    .strictObject({
      workers: z.number().int().min(1).default(4),
      poll_interval_s: z.number().positive().default(1),
      lease_s: z.number().positive().default(15).describe('a job whose worker died is taken over after so long'),
    })
    .prefault({}),
  brokers: z
    .strictObject({
      client_timeout_s: z.number().positive().default(60).describe('the longest that a broker may take to answer'),
      poll_interval_s: z.number().positive().default(60).describe('how often an operation under way is asked for'),
      poll_backoff_rate: z.number().min(1).default(1),
      poll_interval_max_s: z.number().positive().default(86_400),
      poll_duration_max_s: z.number().positive().default(604_800).describe('after so long it has failed'),
      orphan_retry_s: z
        .number()
        .positive()
        .default(60)
        .describe(
          'what a failed operation may have left at a broker is deleted after 2, 4, 8… times as long, 11 times',
        ),
      skip_ssl_validation: z.boolean().default(false),
      ca: z.string().optional().describe('PEM of an authority that signed certificates of brokers'),
    })
    .prefault({}),
  placement: z
    .strictObject({
      advertisement_timeout_s: z.number().default(10).describe('a DEA not heard of for so long gets no work'),
      instance_silence_s: z
        .number()
        .default(5)
        .describe('an instance not heard of for so long is not running; less than what the health manager waits (6 s)'),
      deployment_interval_s: z.number().default(1).describe('how often rolling deployments go on'),
      start_batch: z.number().int().default(5),
      sweep_interval_s: z
        .number()
        .positive()
        .default(5)
        .describe('how often builds and tasks are looked for that nobody carries on'),
    })
    .prefault({}),
  status: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      port: z.number().int().default(0),
      user: z.string().default('varz'),
      password: z.string(),
    })
    .optional()
    .describe('what the collector reads; absent: not announced'),
});
export type CloudControllerConfig = z.infer<typeof CloudControllerConfig>;
