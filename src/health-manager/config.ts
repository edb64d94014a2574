import { z } from 'zod';
import type { ReconcilerOptions } from './reconciler.ts';

const seconds = z.number().positive();

export const HealthManagerConfig = z.strictObject({
  index: z.number().int().min(0).default(0),
  nats_servers: z.array(z.string()).min(1),
  cc_url: z.string().describe("the cloud controller's internal face"),
  internal_api: z.strictObject({ user: z.string(), password: z.string() }),
  status: z.strictObject({
    host: z.string().default('127.0.0.1'),
    port: z.number().int().default(0),
    user: z.string(),
    password: z.string(),
  }),
  log_level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  heartbeat_period_s: seconds.default(2).describe('how often a DEA beats; it is silent after three'),
  fetch_interval_s: seconds.default(20).describe('how often the whole desired state is read again; hints come at once'),
  desired_ttl_s: seconds.default(120).describe('a desired state older than this is not acted on'),
  bulk_batch_size: z.number().int().min(1).default(1000),
  missing_grace_s: seconds.default(5).describe('an index may be on its way: it is missing after this long'),
  start_keep_alive_s: seconds.default(8).describe('a start that was asked for is not asked for again within this'),
  stop_keep_alive_s: seconds.default(10),
  duplicate_delay_s: seconds.default(30).describe('a second instance of one index is stopped after this long'),
  duplicate_stagger_s: seconds.default(10).describe('and each further one this much later'),
  crashes_before_backoff: z.number().int().min(0).default(3),
  first_backoff_s: seconds.default(30),
  max_backoff_s: seconds.default(960),
  crash_count_ttl_s: seconds.default(1920).describe('an index that was quiet so long starts its count anew'),
  max_starts_per_round: z.number().int().min(1).default(5000).describe('starts asked for each quarter second'),
  lock_ttl_s: seconds.default(1.5).describe('a leader that is silent so long has lost its lead'),
});
export type HealthManagerConfig = z.infer<typeof HealthManagerConfig>;

const MISSED_BEATS = 3;

export function reconcilerOptions(config: HealthManagerConfig): ReconcilerOptions {
  return {
    silence_ms: config.heartbeat_period_s * MISSED_BEATS * 1000,
    desired_ttl_ms: config.desired_ttl_s * 1000,
    crash_count_ttl_ms: config.crash_count_ttl_s * 1000,
    max_starts_per_round: config.max_starts_per_round,
    missing_grace_ms: config.missing_grace_s * 1000,
    start_keep_alive_ms: config.start_keep_alive_s * 1000,
    stop_keep_alive_ms: config.stop_keep_alive_s * 1000,
    duplicate_delay_ms: config.duplicate_delay_s * 1000,
    duplicate_stagger_ms: config.duplicate_stagger_s * 1000,
    crashes_before_backoff: config.crashes_before_backoff,
    first_backoff_ms: config.first_backoff_s * 1000,
    max_backoff_ms: config.max_backoff_s * 1000,
  };
}
