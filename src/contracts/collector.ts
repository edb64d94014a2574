/**
 * How components make themselves known to the collector. Source: cloudfoundry/collector. Each serves, at `host`, `/healthz`
 * (the text `ok`), `/varz` (JSON, basic auth with `credentials`) and `/metrics` (Prometheus text, same auth).
 */
import { z } from 'zod';
import { exchange, topic } from './topic.ts';

export const ComponentAnnouncement = z.object({
  type: z.string().describe('Router, CloudController, DEA, HM9000, UAA, Loggregator, Warden, Collector…'),
  index: z.number().int(),
  host: z.string().describe('ip:port of the status server'),
  credentials: z.tuple([z.string(), z.string()]),
  uuid: z.string().describe('<index>-<guid>'),
  start: z.string().describe('RFC 3339'),
  uptime: z.string().describe('Nd:Nh:Nm:Ns'),
  version: z.string(),
  pid: z.number().int(),
});
export type ComponentAnnouncement = z.infer<typeof ComponentAnnouncement>;

export const componentAnnounce = topic('vcap.component.announce', ComponentAnnouncement);
export const componentDiscover = exchange('vcap.component.discover', z.object({}), ComponentAnnouncement);
