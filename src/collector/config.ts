import { z } from 'zod';

const seconds = z.number().positive();

export const CollectorConfig = z.strictObject({
  index: z.number().int().min(0).default(0),
  version: z.string().default('0.1.0'),
  log_level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  nats_servers: z.array(z.string()).min(1).describe('nats://[user:password@]host:port, any of which will do'),
  listen: z
    .strictObject({ host: z.string().default('127.0.0.1'), port: z.number().int().min(0).max(65_535) })
    .describe('/components, /metrics and /series of all components'),
  login: z
    .strictObject({ user: z.string().min(1), password: z.string().min(1) })
    .optional()
    .describe('basic auth of `listen`; that of `status` by default'),
  status: z.strictObject({
    host: z.string().default('127.0.0.1'),
    port: z.number().int().default(0),
    user: z.string(),
    password: z.string(),
  }),
  intervals: z
    .strictObject({
      discover_s: seconds.default(10).describe('components are asked to make themselves known'),
      varz_s: seconds.default(10).describe('/varz and /metrics are read'),
      healthz_s: seconds.default(5),
      local_metrics_s: seconds.default(10).describe('the machine and the message bus are measured'),
      prune_s: seconds.default(300).describe('a component not heard of for so long is forgotten'),
    })
    .prefault({}),
  timeout_ms: z.number().int().positive().default(4_000).describe('for each answer of a component'),
  history: z
    .strictObject({
      step_s: seconds.default(60),
      retention_s: seconds.default(86_400),
      memory_mb: z.number().positive().default(24).describe('series beyond it are shown but not kept, and counted'),
    })
    .prefault({}),
  remote_write: z
    .strictObject({
      url: z.url({ protocol: /^https?$/ }),
      headers: z.record(z.string(), z.string()).default({}).describe('such as Authorization'),
      interval_s: seconds.default(15),
      timeout_ms: z.number().int().positive().default(10_000),
      max_rounds: z
        .number()
        .int()
        .positive()
        .default(40)
        .describe('kept while the receiver is away; then the oldest go'),
      labels: z
        .record(z.string(), z.string())
        .default({})
        .describe('added to every figure, such as the platform’s name'),
    })
    .optional()
    .describe('where all figures are pushed to, beside being shown; off when left out'),
  disks: z.array(z.string()).default(['/']).describe('folders whose file systems are measured'),
});
export type CollectorConfig = z.output<typeof CollectorConfig>;
