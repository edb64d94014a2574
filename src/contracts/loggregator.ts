/**
 * Envelopes from emitters to the loggregator. Source: cloudfoundry/loggregator-api v2. On the bus they travel in batches on
 * `loggregator.envelopes.<source_id>`; the HTTP API (log-cache's, /v2/read) shows the same JSON.
 */
import { z } from 'zod';
import { topic } from './topic.ts';

export const Envelope = z.object({
  timestamp: z.string().describe('ns since the epoch, decimal'),
  source_id: z.string().describe("the app's guid, or a component's name"),
  instance_id: z.string(),
  tags: z.record(z.string(), z.string()),
  log: z
    .object({ payload: z.string().describe('base64, no newline at the end'), type: z.enum(['OUT', 'ERR']) })
    .optional(),
  counter: z.object({ name: z.string(), delta: z.string().optional(), total: z.string().optional() }).optional(),
  gauge: z.object({ metrics: z.record(z.string(), z.object({ unit: z.string(), value: z.number() })) }).optional(),
  timer: z.object({ name: z.string(), start: z.string(), stop: z.string() }).optional(),
  event: z.object({ title: z.string(), body: z.string() }).optional(),
});
export type Envelope = z.infer<typeof Envelope>;

export const EnvelopeBatch = z.object({
  batch: z.array(Envelope),
  emitter: z.string().optional().describe('who sends, by an id of its own'),
  sent_before: z
    .number()
    .int()
    .optional()
    .describe(
      'how many envelopes of this source it sent before: what is missing between two batches was lost on the way',
    ),
});

/** A line longer than this is split. Source: loggregator's limit. */
export const MAX_LOG_LINE_BYTES = 61_440;

export const envelopes = (source_id: string) => topic(`loggregator.envelopes.${source_id}`, EnvelopeBatch);
/** What loggregators subscribe to. */
export const allEnvelopes = topic('loggregator.envelopes.*', EnvelopeBatch);
