/**
 * What is said over NATS of ways from app to app. The cloud controller has the policies; each DEA says where those of its instances
 * are that others may need to find, and gives its warden what comes of both (docs/adr/0010-container-networking.md has why).
 */
import { z } from 'zod';
import { exchange, topic } from './topic.ts';

const Port = z.number().int().min(1).max(65_535);

/** One app's instances may reach another's, on ports of their containers. Sources are apps; an app needs one to reach itself. */
export const NetworkPolicy = z.object({
  source: z.string().describe('guid of an app'),
  destination: z.string().describe('guid of an app'),
  protocol: z.enum(['tcp', 'udp']),
  first_port: Port,
  last_port: Port,
});
export type NetworkPolicy = z.infer<typeof NetworkPolicy>;

/**
 * Said by the cloud controller with each change, and every few seconds without one. Who holds `before` applies it; who holds
 * neither number has missed something and asks for the list.
 */
export const networkPoliciesChanged = topic(
  'network-policies.changed',
  z.object({
    revision: z.number().int(),
    before: z.number().int(),
    added: z.array(NetworkPolicy),
    removed: z.array(NetworkPolicy),
  }),
);

/** The list, a page at a time: `next` is the next page's `after`. A revision that differs between pages means: begin anew. */
export const networkPoliciesList = exchange(
  'network-policies.list',
  z.object({ after: z.number().int().default(0) }),
  z.object({ revision: z.number().int(), policies: z.array(NetworkPolicy), next: z.number().int().optional() }),
);

/** A container that others may look for: by the internal routes of its app while it is healthy, or as an end of a policy. */
export const DiscoverableInstance = z.object({
  app: z.string(),
  instance: z.string(),
  index: z.number().int().min(0),
  address: z.ipv4().describe("the container's"),
  uris: z.array(z.string()).describe('internal routes, in lower case; empty while it is not healthy'),
});
export type DiscoverableInstance = z.infer<typeof DiscoverableInstance>;

/**
 * Said by each DEA: all that others may need of what it holds, whenever that changes, at intervals, and when another asks. It
 * replaces what the same DEA said before; a DEA that says nothing for `stale_after_s` is forgotten.
 */
export const ServiceDiscoveryRegister = z.object({
  dea: z.string(),
  network: z.string().describe('where its containers are, a CIDR'),
  stale_after_s: z.number(),
  instances: z.array(DiscoverableInstance),
});
export type ServiceDiscoveryRegister = z.infer<typeof ServiceDiscoveryRegister>;
export const serviceDiscoveryRegister = topic('service-discovery.register', ServiceDiscoveryRegister);
/** Asks every DEA to say it now: by one that has just started, or is back on the bus. */
export const serviceDiscoveryStart = topic('service-discovery.start', z.object({ dea: z.string() }));
