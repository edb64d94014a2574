/**
 * What the health manager asks of the cloud controller. Source: cloudfoundry/hm9000 README. Cloud controllers take these in
 * the queue group `cc`, so that one of many acts; each is free to refuse what its own database does not bear out.
 */
import { z } from 'zod';
import { topic } from './topic.ts';

export const CC_QUEUE = 'cc';

export const StartRequest = z.object({
  message_id: z.string(),
  droplet: z.string(),
  version: z.string(),
  instance_index: z.number().int(),
  /** Why, for the cloud controller's log and the app's events. */
  reason: z.enum(['missing', 'crashed', 'evacuating']),
});
export type StartRequest = z.infer<typeof StartRequest>;

export const StopRequest = z.object({
  message_id: z.string(),
  droplet: z.string(),
  version: z.string(),
  instance_guid: z.string(),
  instance_index: z.number().int(),
  is_duplicate: z.boolean(),
});
export type StopRequest = z.infer<typeof StopRequest>;

export const hm9000Start = topic('hm9000.start', StartRequest);
export const hm9000Stop = topic('hm9000.stop', StopRequest);
