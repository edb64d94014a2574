import { z } from 'zod';

const Credentials = z.strictObject({ user: z.string().min(1), password: z.string().min(1) });

export const DeaConfig = z
  .strictObject({
    base_dir: z
      .string()
      .describe('what this DEA keeps: its id, its record of instances, caches of droplets and buildpacks'),
    index: z.number().int().min(0).default(0),
    version: z.string().default('0.1.0'),
    zone: z.string().default('default').describe('instances of a process are spread over zones first'),
    isolation_segment: z
      .string()
      .min(1)
      .optional()
      .describe('name of the isolation segment whose apps run here, and no others; the shared one unless said'),
    nats_servers: z.array(z.string()).min(1).describe('nats://[user:password@]host:port, any of which will do'),
    warden_socket: z.string(),
    ip: z.string().describe('address under which routers reach the host ports of instances'),
    cc_url: z.string().describe("the cloud controller's internal face"),
    internal_api: Credentials.describe('basic auth of that face'),
    stacks: z.array(z.string()).min(1).describe('as warden knows them'),
    resources: z.strictObject({
      memory_mb: z.number().int().positive(),
      disk_mb: z.number().int().positive(),
      memory_overcommit_factor: z.number().positive().default(1),
      disk_overcommit_factor: z.number().positive().default(1),
    }),
    intervals: z
      .strictObject({
        advertise_s: z.number().positive().default(5),
        heartbeat_s: z.number().positive().default(2),
        router_register_s: z.number().positive().default(20),
        stats_s: z.number().positive().default(10),
        container_reap_s: z
          .number()
          .positive()
          .default(60)
          .describe('twice unknown to us, a container of ours is destroyed'),
        cache_reap_s: z.number().positive().default(60),
      })
      .prefault({}),
    staging: z
      .strictObject({
        memory_limit_mb: z.number().int().positive().default(1024).describe('at least, whatever the build asks for'),
        disk_limit_mb: z.number().int().positive().default(2048).describe('at least'),
        max_staging_duration_s: z.number().positive().default(900).describe('at most, whatever the build asks for'),
        max_concurrent: z.number().int().positive().default(2).describe('more builds wait in a queue'),
        max_package_bytes: z
          .number()
          .int()
          .positive()
          .default(5 * 1024 ** 3),
        max_package_entries: z.number().int().positive().default(200_000),
        report_for_s: z
          .number()
          .positive()
          .default(600)
          .describe('how long the outcome is offered to the cloud controller'),
      })
      .prefault({}),
    instance: z
      .strictObject({
        memory_to_cpu_share_ratio: z.number().positive().default(8).describe('MB per CPU share'),
        min_cpu_shares: z.number().int().min(2).default(8),
        max_cpu_shares: z.number().int().positive().default(256),
        max_processes: z.number().int().positive().default(1024),
        graceful_shutdown_s: z.number().min(0).default(10).describe('unless the instance says otherwise'),
        max_graceful_shutdown_s: z.number().min(0).default(600),
        health_check_timeout_s: z.number().positive().default(60),
        max_droplet_bytes: z
          .number()
          .int()
          .positive()
          .default(8 * 1024 ** 3),
      })
      .prefault({}),
    ssh: z
      .strictObject({
        host: z.string().optional().describe('`ip` unless said'),
        port: z.number().int().min(0).max(65_535).default(0).describe('0 takes any, and tells it with each ticket'),
      })
      .prefault({})
      .describe('where the SSH proxy enters instances'),
    volumes_folder: z
      .string()
      .optional()
      .describe(
        "images of volumes that this machine has, by the volume's id; left out, instances with volumes go elsewhere",
      ),
    instance_identity: z
      .strictObject({
        ca_cert_file: z.string(),
        ca_key_file: z.string().describe('of an elliptic curve'),
        trusted_ca_files: z
          .array(z.string())
          .default([])
          .describe('that apps find in CF_SYSTEM_CERT_PATH, beside the authority itself'),
        validity_h: z.number().positive().default(24).describe('made anew at half of it'),
      })
      .optional()
      .describe('the authority that signs a certificate for each instance; without it they get none'),
    droplet_cache_mb: z
      .number()
      .positive()
      .default(10_240)
      .describe('unused droplets above this are deleted, the oldest first'),
    buildpack_cache_mb: z.number().positive().default(5120),
    docker: z
      .strictObject({
        insecure_registries: z
          .array(z.string())
          .default([])
          .describe('host:port of registries that speak plain HTTP; loopback addresses always may'),
        allows_local_registries: z
          .boolean()
          .default(false)
          .describe('whether registries, their redirects and token services may be on this machine itself'),
        stall_timeout_s: z
          .number()
          .positive()
          .default(30)
          .describe('a layer of which nothing comes for so long is given up'),
        layer_timeout_s: z.number().positive().default(1800).describe('for one layer in all'),
        layer_cache_mb: z.number().positive().default(10_240).describe('unused layers above this are deleted'),
        max_layer_bytes: z
          .number()
          .int()
          .positive()
          .default(8 * 1024 ** 3),
      })
      .prefault({})
      .describe('images that are run instead of droplets on a stack'),
    evacuation_bail_out_time_s: z.number().positive().default(600),
    status: z
      .strictObject({
        host: z.string().default('127.0.0.1'),
        port: z.number().int().default(0),
        credentials: Credentials,
      })
      .optional()
      .describe('healthz, varz and metrics for the collector; port 0 takes any'),
  })
  .refine((config) => config.instance.min_cpu_shares <= config.instance.max_cpu_shares, {
    message: 'min_cpu_shares must not be above max_cpu_shares',
    path: ['instance', 'min_cpu_shares'],
  });
export type DeaConfig = z.output<typeof DeaConfig>;
