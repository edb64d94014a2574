import { z } from 'zod';

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
  max_starts_per_round: z.number().int().min(1).default(500).describe('starts asked for each quarter second'),
  lock_ttl_s: seconds.default(2).describe('a leader that is silent so long has lost its lead'),
});
export type HealthManagerConfig = z.infer<typeof HealthManagerConfig>;
