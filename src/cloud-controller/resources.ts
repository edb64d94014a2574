import type { FastifyInstance } from 'fastify';
import { registerAppResources } from './apps-resources.ts';
import type { Deps } from './deps.ts';
import { registerDomainEndpoints } from './domains/endpoints.ts';
import { registerFeatureFlagEndpoints } from './feature-flags/endpoints.ts';
import { registerOrganizationEndpoints } from './organizations/endpoints.ts';
import { registerRoleEndpoints } from './roles/endpoints.ts';
import { registerDestinationEndpoints } from './routes/destination-endpoints.ts';
import { registerRouterGroupEndpoints } from './routes/router-groups.ts';
import { registerRouteEndpoints } from './routes/endpoints.ts';
import { registerRouteRelationEndpoints } from './routes/relations-endpoints.ts';
import { registerRoutePolicyEndpoints } from './route-policies/endpoints.ts';
import { registerSpaceEndpoints } from './spaces/endpoints.ts';
import { registerUserEndpoints } from './users/endpoints.ts';
import { registerAuditEventEndpoints } from './audit-events/endpoints.ts';
import { registerEnvironmentVariableGroupEndpoints } from './environment-variable-groups/endpoints.ts';
import { registerOrganizationQuotaEndpoints } from './quotas/organization-endpoints.ts';
import { registerSpaceQuotaEndpoints } from './quotas/space-endpoints.ts';
import { registerStackEndpoints } from './stacks/endpoints.ts';
import { registerBuildpackCacheEndpoints } from './buildpacks/cache-endpoints.ts';
import { registerBuildpackEndpoints } from './buildpacks/endpoints.ts';
import { registerIsolationSegmentEndpoints } from './isolation-segments/endpoints.ts';
import { registerNetworkPolicyEndpoints } from './network-policies/endpoints.ts';
import { registerSecurityGroupEndpoints } from './security-groups/endpoints.ts';
import { registerServiceResources } from './service-resources.ts';
import { registerUsageEndpoints } from './usage-events/endpoints.ts';
import { registerJobEndpoints } from './jobs/endpoints.ts';
import { registerRootEndpoints } from './root/endpoints.ts';

/** All resources of the v3 API: each makes its endpoints and the jobs that they leave behind. */
const RESOURCES: readonly ((server: FastifyInstance, deps: Deps) => void)[] = [
  registerRootEndpoints,
  registerJobEndpoints,
  registerAuditEventEndpoints,
  registerEnvironmentVariableGroupEndpoints,
  registerOrganizationQuotaEndpoints,
  registerSpaceQuotaEndpoints,
  registerStackEndpoints,
  registerDomainEndpoints,
  registerFeatureFlagEndpoints,
  registerOrganizationEndpoints,
  registerRoleEndpoints,
  registerDestinationEndpoints,
  registerRouterGroupEndpoints,
  registerRouteEndpoints,
  registerRouteRelationEndpoints,
  registerRoutePolicyEndpoints,
  registerSpaceEndpoints,
  registerUserEndpoints,
  registerBuildpackCacheEndpoints,
  registerBuildpackEndpoints,
  registerIsolationSegmentEndpoints,
  registerSecurityGroupEndpoints,
  registerNetworkPolicyEndpoints,
  registerServiceResources,
  registerUsageEndpoints,
  registerAppResources,
];

export function registerResources(server: FastifyInstance, deps: Deps): void {
  for (const register of RESOURCES) register(server, deps);
}
