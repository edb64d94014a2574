import { z } from 'zod';
import { MetadataUpdate } from '../api/metadata.ts';
import type { CloudControllerConfig } from '../config.ts';

/** What an integer column holds. */
export const MAX_INTEGER = 2_147_483_647;
const Seconds = z.number().int().min(1).max(MAX_INTEGER);

/** The form of health checks; `timeout` is for the first success alone, so readiness checks have none. */
function healthCheck(max_timeout_s: number) {
  const timings = { invocation_timeout: Seconds.nullable().optional(), interval: Seconds.nullable().optional() };
  const first = {
    timeout: Seconds.max(max_timeout_s, {
      error: `Health check data timeout must be less than or equal to ${max_timeout_s}`,
    })
      .nullable()
      .optional(),
  };
  const endpoint = z
    .string()
    .max(255)
    .regex(/^\//, 'Health check data endpoint must be a valid URI path')
    .nullable()
    .optional();
  return {
    liveness: z.strictObject({
      type: z.enum(['port', 'process', 'http'], {
        error: 'Health check type must be "port", "process", or "http"',
      }),
      data: z.strictObject({ ...first, ...timings, endpoint }).default({}),
    }),
    readiness: z.strictObject({
      type: z.enum(['port', 'process', 'http'], {
        error: 'Readiness health check type must be "port", "process", or "http"',
      }),
      data: z.strictObject({ ...timings, endpoint }).default({}),
    }),
  };
}

export function processSchemas({ limits }: Pick<CloudControllerConfig, 'limits'>) {
  const { liveness, readiness } = healthCheck(limits.health_check_timeout_max_s);
  return {
    update: z.strictObject({
      command: z
        .string()
        .min(1, { error: 'Command must be between 1 and 4096 characters' })
        .max(4096)
        .nullable()
        .optional(),
      user: z.literal('vcap', { error: "User must be 'vcap'" }).nullable().optional(),
      health_check: liveness.partial({ type: true }).optional(),
      readiness_health_check: readiness.partial({ type: true }).optional(),
      metadata: MetadataUpdate.optional(),
    }),
    scale: z.strictObject({
      instances: z.number().int().min(0).max(limits.instances_max).optional(),
      memory_in_mb: z
        .number()
        .int()
        .min(1, { error: 'Memory in mb must be greater than 0' })
        .max(MAX_INTEGER)
        .optional(),
      disk_in_mb: z
        .number()
        .int()
        .min(1, { error: 'Disk in mb must be greater than 0' })
        .max(limits.app_disk_max_mb, {
          error: `Disk in mb too much disk requested (requested disk must be less than ${limits.app_disk_max_mb})`,
        })
        .optional(),
      log_rate_limit_in_bytes_per_second: z.number().int().min(-1).optional(),
    }),
  };
}
export type ProcessSchemas = ReturnType<typeof processSchemas>;
export type ProcessUpdate = z.infer<ProcessSchemas['update']>;
export type ProcessScale = z.infer<ProcessSchemas['scale']>;
