import type { FastifyInstance } from 'fastify';
import { registerAppEndpoints } from './apps/endpoints.ts';
import { registerAppSettingEndpoints } from './apps/settings-endpoints.ts';
import { registerBuildEndpoints } from './builds/endpoints.ts';
import { registerDeploymentEndpoints } from './deployments/endpoints.ts';
import type { Deps } from './deps.ts';
import { registerDropletEndpoints } from './droplets/endpoints.ts';
import { registerManifestEndpoints } from './manifests/endpoints.ts';
import { registerPackageEndpoints } from './packages/endpoints.ts';
import { registerProcessEndpoints } from './processes/endpoints.ts';
import { registerResourceMatchEndpoints } from './resource-matches/endpoints.ts';
import { registerRevisionEndpoints } from './revisions/endpoints.ts';
import { registerSidecarEndpoints } from './sidecars/endpoints.ts';
import { registerTaskEndpoints } from './tasks/endpoints.ts';

/** The resources of what apps are made of and become. */
const RESOURCES: readonly ((server: FastifyInstance, deps: Deps) => void)[] = [
  registerAppEndpoints,
  registerAppSettingEndpoints,
  registerBuildEndpoints,
  registerDeploymentEndpoints,
  registerDropletEndpoints,
  registerManifestEndpoints,
  registerPackageEndpoints,
  registerProcessEndpoints,
  registerResourceMatchEndpoints,
  registerRevisionEndpoints,
  registerSidecarEndpoints,
  registerTaskEndpoints,
];

export function registerAppResources(server: FastifyInstance, deps: Deps): void {
  for (const register of RESOURCES) register(server, deps);
}
