import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { parseCidr } from './address.ts';

const ipv4 = z.string().refine((value) => isIPv4(value), 'must be an IPv4 address');

export const WardenConfig = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z][a-z0-9]{0,7}$/)
      .default('ingot')
      .describe('names the nftables table, interfaces and cgroups, so that several wardens can share a machine'),
    socket_path: z.string().describe('unix socket of the API, readable by root alone'),
    depot: z.string().describe('folder of all state; removed only by hand'),
    stacks: z.record(z.string(), z.string()).describe('name of a stack to the folder of its root file system'),
    network_pool: z
      .string()
      .refine((value) => parseCidr(value) !== undefined, 'must be an IPv4 network like 10.254.0.0/16')
      .default('10.254.0.0/18')
      .describe('each container takes a /30 of it'),
    uid_pool: z
      .strictObject({
        start: z.number().int().min(65_536).default(1_000_000_000),
        size_per_container: z.number().int().min(65_536).default(65_536),
        count: z.number().int().positive().default(4096),
      })
      .prefault({})
      .describe('host uids that container uids are mapped to; no two live containers share any'),
    host_port_pool: z
      .strictObject({ first: z.number().int().default(61_001), last: z.number().int().max(65_535).default(65_000) })
      .prefault({})
      .describe('ports of the host that lead to containers; must lie outside net.ipv4.ip_local_port_range'),
    disk_store: z
      .strictObject({
        size_mb: z
          .number()
          .int()
          .min(256)
          .default(16_384)
          .describe('of the sparse image; taken from the disk as it fills'),
        backend: z
          .enum(['auto', 'btrfs', 'loop'])
          .default('auto')
          .describe('btrfs: one image, a quota for each container; loop: an ext4 image each'),
      })
      .prefault({}),
    dns: z
      .strictObject({
        nameservers: z.array(ipv4).optional().describe("the host's unless given; what they know, containers can ask"),
        internal_domains: z
          .array(z.string().regex(/^[a-z0-9.-]+$/))
          .default(['apps.internal'])
          .describe('names below these are answered from internal routes and never go out'),
      })
      .prefault({})
      .describe('of the name server that each container has at its gateway'),
    allow_host_access: z
      .array(
        z.string().regex(/^\d+\.\d+\.\d+\.\d+(\/\d+)?:\d+(\/(tcp|udp))?$/, 'must be address:port or address:port/udp'),
      )
      .default([])
      .describe("services of the host itself that every container may reach, such as the router's ports"),
    trusted_ca_file: z
      .string()
      .optional()
      .describe('CA bundle that containers trust instead of the one of their stack'),
    background: z
      .strictObject({
        cpu_shares: z.number().int().min(2).max(1024).default(64),
        io_weight: z.number().int().min(1).max(100).default(10),
      })
      .prefault({})
      .describe('of all background containers together (builds), where all others have 1024 and 100'),
    backend: z
      .enum(['crun', 'process'])
      .default('crun')
      .describe('process: plain processes without any isolation, for development without root or Linux'),
    job_log_keep_mb: z
      .number()
      .int()
      .positive()
      .default(16)
      .describe("of each job's output, the newest; what lies before it is given back to the disk"),
    reports: z
      .strictObject({
        nats_servers: z.array(z.string()).min(1).describe('where the collector hears of it'),
        status: z.strictObject({
          host: z.string().default('127.0.0.1'),
          port: z.number().int().min(0).max(65_535).default(0),
          credentials: z.strictObject({ user: z.string().min(1), password: z.string().min(1) }),
        }),
        index: z.number().int().min(0).default(0),
        version: z.string().default('0.1.0'),
      })
      .optional()
      .describe('healthz, varz and metrics for the collector; absent: it says nothing to anybody but its DEA'),
    log_level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  })
  .refine((c) => c.host_port_pool.first <= c.host_port_pool.last, 'host_port_pool.first must not be above last');
export type WardenConfig = z.output<typeof WardenConfig>;
