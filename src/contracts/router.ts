/**
 * What the router hears and says over NATS. Source: cloudfoundry/gorouter README and mbus package.
 * Whoever serves HTTP registers its routes at start, every `minimumRegisterIntervalInSeconds`, and at once when it hears
 * `router.start`; a route not repeated within the router's prune threshold is forgotten.
 */
import { z } from 'zod';
import { exchange, topic } from './topic.ts';

export const RouteMessage = z.object({
  host: z.string().describe('address of the endpoint'),
  port: z.number().int().min(1).max(65535).optional().describe('plain port'),
  tls_port: z.number().int().min(1).max(65535).optional().describe('preferred to `port` when both are given'),
  protocol: z.enum(['http1', 'http2']).optional(),
  uris: z
    .array(z.string())
    .describe('host or host/path, any case; or domain:port, which is a TCP route (tcp-routes.ts)'),
  tags: z.record(z.string(), z.string()).optional(),
  app: z.string().optional().describe('guid of the app'),
  private_instance_id: z.string().optional(),
  private_instance_index: z.string().optional(),
  stale_threshold_in_seconds: z.number().optional(),
  route_service_url: z.string().optional().describe('https only; anything else drops the whole message'),
  isolation_segment: z.string().optional(),
  server_cert_domain_san: z.string().optional().describe('identity that the endpoint must prove over TLS'),
  availability_zone: z.string().optional(),
  endpoint_updated_at_ns: z.number().optional().describe('an update older than the one held is ignored'),
  options: z
    .object({
      loadbalancing: z.enum(['round-robin', 'least-connection']).optional(),
      route_policy_scope: z
        .enum(['any', 'org', 'space'])
        .optional()
        .describe('with it only apps that prove who they are get through, those of the same organization or space'),
      route_policy_sources: z
        .string()
        .optional()
        .describe('which: cf:app:…, cf:space:…, cf:org:… or cf:any, by commas; without any, none'),
    })
    .optional(),
  dea: z.string().optional(),
});
export type RouteMessage = z.infer<typeof RouteMessage>;

export const RouterStart = z.object({
  id: z.string(),
  hosts: z.array(z.string()),
  minimumRegisterIntervalInSeconds: z.number(),
  pruneThresholdInSeconds: z.number(),
});
export type RouterStart = z.infer<typeof RouterStart>;

/** Sent by the router when it starts and after each reconnect to NATS: registrants answer by registering. */
export const routerStart = topic('router.start', RouterStart);
/** Asked by a registrant; the reply has the shape of `router.start`. */
export const routerGreet = exchange('router.greet', z.unknown(), RouterStart);
export const routerRegister = topic('router.register', RouteMessage);
/** Removes by uri, host and port. */
export const routerUnregister = topic('router.unregister', RouteMessage);
