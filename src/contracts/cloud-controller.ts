/**
 * The cloud controller's internal HTTP face, for other components only: basic auth, never reachable through the router.
 *
 * GET  /internal/bulk/apps?batch_size=N&bulk_token=T        desired state, BulkApps; ends when `bulk_token` is null
 * POST /internal/staging/:build_guid/completed              StagingResult; 200 taken, 404 no such build, 409 it already ended
 * POST /internal/tasks/:task_guid/completed                 TaskResult; 200, 404, 409 likewise
 * GET  /internal/jobs                                       for operators: JobsUnderWay, oldest first
 * DELETE /internal/jobs/:guid                              for operators: ends an asynchronous job; 204, 404 none under way
 * GET  /internal/v4/log_access/:app_guid                    the user's own bearer; 200, or 404 when there is no permission
 * GET  /internal/v5/syslog_drain_urls?batch_size=N&next_id=M   SyslogDrainUrls; ends when `next_id` is null
 * GET  /internal/apps/:process_guid/ssh_access/:index       the user's own bearer; 200 SshAccess, 401, 403
 * GET|PUT /internal/blobs/:bucket/:key?expires=&signature=  signed: the signature is the permission
 */
import { z } from 'zod';
import { topic } from './topic.ts';

export const DesiredProcess = z.object({
  droplet: z.string().describe('guid of the process'),
  app: z.string(),
  version: z.string(),
  instances: z.number().int(),
  state: z.enum(['STARTED', 'STOPPED']),
  package_state: z.enum(['STAGED', 'PENDING', 'FAILED']),
});
export type DesiredProcess = z.infer<typeof DesiredProcess>;

export const BulkApps = z.object({ results: z.array(DesiredProcess), bulk_token: z.string().nullable() });
export type BulkApps = z.infer<typeof BulkApps>;

/**
 * A hint that one process's desired state changed, with its new desired state; 0 instances when it is gone. The health
 * manager may lose it without harm: it reads all of it again by and by.
 */
export const dropletUpdated = topic('droplet.updated', DesiredProcess);

export const TaskResult = z.object({
  failed: z.boolean(),
  failure_reason: z.string().nullable(),
  exit_status: z.number().int(),
});
export type TaskResult = z.infer<typeof TaskResult>;

export const SshAccess = z.object({ process_guid: z.string() });

/** Where apps' logs are drained to: bound services' `syslog_drain_url`, and the apps that each client certificate speaks for. */
export const SyslogDrainUrls = z.object({
  results: z.array(
    z.object({
      url: z.string(),
      credentials: z.array(
        z.object({
          cert: z.string().default(''),
          key: z.string().default(''),
          ca: z.string().default(''),
          apps: z.array(z.object({ hostname: z.string().describe('<org>.<space>.<app>'), app_id: z.string() })),
        }),
      ),
    }),
  ),
  next_id: z.number().int().nullable().default(null),
});
export type SyslogDrainUrls = z.infer<typeof SyslogDrainUrls>;

export const JobsUnderWay = z.object({
  jobs: z.array(
    z.object({
      guid: z.string(),
      operation: z.string(),
      state: z.enum(['PROCESSING', 'POLLING']),
      created_at: z.string(),
      attempts: z.number().int(),
    }),
  ),
});
export type JobsUnderWay = z.infer<typeof JobsUnderWay>;
