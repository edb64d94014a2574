import type { FastifyInstance } from 'fastify';
import type { Deps } from './deps.ts';
import { registerCredentialBindingEndpoints } from './service-credential-bindings/endpoints.ts';
import { registerServiceBrokerEndpoints } from './service-brokers/endpoints.ts';
import { registerServiceOfferingEndpoints } from './service-offerings/endpoints.ts';
import { registerOrphanJobs } from './service-operations/orphans.ts';
import { registerServicePlanEndpoints } from './service-plans/endpoints.ts';
import { registerRouteBindingEndpoints } from './service-route-bindings/endpoints.ts';
import { registerServiceInstanceEndpoints } from './service-instances/endpoints.ts';
import { registerSharingEndpoints } from './service-instances/sharing.ts';
import { registerServiceUsageEndpoints } from './service-usage-events/endpoints.ts';

/** Services: brokers, what they offer, instances of it, and what is bound to them. */
export function registerServiceResources(server: FastifyInstance, deps: Deps): void {
  registerServiceInstanceEndpoints(server, deps);
  registerSharingEndpoints(server, deps);
  registerCredentialBindingEndpoints(server, deps);
  registerServiceBrokerEndpoints(server, deps);
  registerServiceOfferingEndpoints(server, deps);
  registerServicePlanEndpoints(server, deps);
  registerRouteBindingEndpoints(server, deps);
  registerServiceUsageEndpoints(server, deps);
  registerOrphanJobs(deps);
}
