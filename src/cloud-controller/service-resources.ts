import type { FastifyInstance } from 'fastify';
import type { Deps } from './deps.ts';
import { registerCredentialBindingEndpoints } from './service-credential-bindings/endpoints.ts';
import { registerServiceLists } from './services/endpoints.ts';
import { registerServiceInstanceEndpoints } from './service-instances/endpoints.ts';

/** Services: brokers, what they offer, instances of it, and what is bound to them. */
export function registerServiceResources(server: FastifyInstance, deps: Deps): void {
  registerServiceInstanceEndpoints(server, deps);
  registerCredentialBindingEndpoints(server, deps);
  registerServiceLists(server, deps);
}
