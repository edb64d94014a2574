import type { FastifyInstance } from 'fastify';
import type { Deps } from './deps.ts';
import { registerJobEndpoints } from './jobs/endpoints.ts';
import { registerRootEndpoints } from './root/endpoints.ts';

/** All resources of the v3 API: each makes its endpoints and the jobs that they leave behind. */
const RESOURCES: readonly ((server: FastifyInstance, deps: Deps) => void)[] = [
  registerRootEndpoints,
  registerJobEndpoints,
];

export function registerResources(server: FastifyInstance, deps: Deps): void {
  for (const register of RESOURCES) register(server, deps);
}
