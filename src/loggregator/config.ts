import { z } from 'zod';
import type { StoreLimits } from './store.ts';

const seconds = z.number().positive();

export const LoggregatorConfig = z.strictObject({
  index: z.number().int().min(0).default(0),
  version: z.string().default('0.1.0'),
  log_level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  listen: z.strictObject({
    host: z.string().default('127.0.0.1'),
    port: z.number().int().min(0).max(65_535),
  }),
  address: z
    .strictObject({ ip: z.string().default('127.0.0.1') })
    .prefault({})
    .describe('where routers reach `listen`'),
  hosts: z
    .strictObject({ log_cache: z.string(), log_stream: z.string() })
    .describe('host names registered with the router'),
  nats_servers: z.array(z.string()).min(1).describe('nats://[user:password@]host:port, any of which will do'),
  status: z.strictObject({
    host: z.string().default('127.0.0.1'),
    port: z.number().int().default(0),
    user: z.string(),
    password: z.string(),
  }),
  uaa: z.strictObject({
    url: z.url().describe('where this component reaches the UAA'),
    issuer: z.string(),
    audiences: z
      .array(z.string())
      .min(1)
      .default(['cloud_controller', 'doppler', 'logs'])
      .describe('one of these must be in a token’s `aud`'),
    timeout_ms: z.number().int().positive().default(5_000),
  }),
  cc_url: z.string().describe("the cloud controller's internal face"),
  internal_api: z.strictObject({ user: z.string(), password: z.string() }).describe('basic auth of that face'),
  access: z
    .strictObject({
      allowed_ttl_s: seconds.default(60).describe('a permission is good for so long without asking again'),
      refused_ttl_s: seconds.default(5),
      timeout_ms: z.number().int().positive().default(5_000),
    })
    .prefault({}),
  store: z.strictObject({
    folder: z.string().describe('a cache: what is in it is lost with the machine'),
    retention_s: seconds.default(3 * 86_400),
    source_mb: z.number().positive().default(256).describe('compressed, for each source'),
    total_mb: z.number().positive().default(4_096).describe('compressed, for all; the largest source gives first'),
    memory_mb: z.number().positive().default(64).describe('the newest of all sources and blocks lately read'),
  }),
  limits: z
    .strictObject({
      source_lines_per_s: z
        .number()
        .int()
        .min(0)
        .default(50_000)
        .describe('of one source; more are dropped, counted and told; 0: no limit'),
      reader_buffer_kb: z
        .number()
        .int()
        .positive()
        .default(4_096)
        .describe('what a slow reader of a stream may lag behind; beyond it lines are dropped, counted and told'),
    })
    .prefault({}),
  app_metrics: z
    .strictObject({
      max_series: z.number().int().positive().default(20_000).describe('figures of all apps shown in /metrics'),
      max_series_per_app: z.number().int().positive().default(5_000),
      scrape_s: seconds.default(15).describe('how often the metrics of apps that ask for it are read'),
      scrape_timeout_ms: z.number().int().positive().default(5_000),
      max_samples: z.number().int().positive().default(500).describe('of one instance; more is refused and told'),
    })
    .prefault({}),
  drains: z
    .strictObject({
      poll_s: seconds.default(15).describe('how often the list is read'),
      buffer_kb: z
        .number()
        .int()
        .positive()
        .default(2_048)
        .describe('what waits for a slow drain; beyond it lines are dropped, counted and told in the app’s stream'),
      timeout_ms: z.number().int().positive().default(10_000).describe('for connecting, and for each hand-over'),
      first_retry_ms: z.number().int().positive().default(500),
      max_retry_s: seconds.default(60),
      blocked_networks: z
        .array(z.string().regex(/^[\da-fA-F.:]+\/\d{1,3}$/, 'must be address/prefix'))
        .default([])
        .describe('where no drain may lead, such as 10.0.0.0/8'),
    })
    .prefault({}),
});
export type LoggregatorConfig = z.output<typeof LoggregatorConfig>;

const MB = 1024 * 1024;

export function storeLimits(store: LoggregatorConfig['store']): StoreLimits {
  return {
    source_bytes: store.source_mb * MB,
    total_bytes: store.total_mb * MB,
    retention_ms: store.retention_s * 1000,
    memory_bytes: store.memory_mb * MB,
  };
}
