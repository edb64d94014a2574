import { z } from 'zod';
import { relationships, ToMany, ToOne } from '../api/body.ts';
import type { ListSpec } from '../api/list.ts';

/** A limit: null for none. Larger numbers than PostgreSQL's integers make no sense for any of them. */
const Limit = z
  .number()
  .int({ error: (issue) => `${labelOf(issue.path)} must be an integer` })
  .min(0)
  .max(2_147_483_647)
  .nullable()
  .optional();

function labelOf(path: PropertyKey[] | undefined): string {
  const text = (path ?? []).map(String).join(' ').replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const LIMITS = {
  apps: z
    .strictObject({
      total_memory_in_mb: Limit,
      per_process_memory_in_mb: Limit,
      total_instances: Limit,
      per_app_tasks: Limit,
      log_rate_limit_in_bytes_per_second: Limit,
    })
    .optional(),
  services: z
    .strictObject({
      paid_services_allowed: z.boolean().optional(),
      total_service_instances: Limit,
      total_service_keys: Limit,
    })
    .optional(),
  routes: z.strictObject({ total_routes: Limit, total_reserved_ports: Limit }).optional(),
};
/** A name, or what is wrong with it, as quotas have it. */
const QuotaName = z.string().min(1).max(250);

export const CreateOrganizationQuota = z.strictObject({
  name: QuotaName,
  ...LIMITS,
  domains: z.strictObject({ total_domains: Limit }).optional(),
  relationships: relationships({ organizations: ToMany.optional() }).optional(),
});
export const UpdateOrganizationQuota = CreateOrganizationQuota.omit({ relationships: true }).partial();
export type OrganizationQuotaLimits = Omit<z.infer<typeof UpdateOrganizationQuota>, 'name'>;

export const CreateSpaceQuota = z.strictObject({
  name: QuotaName,
  ...LIMITS,
  relationships: relationships({ organization: ToOne('Organization'), spaces: ToMany.optional() }),
});
export const UpdateSpaceQuota = CreateSpaceQuota.omit({ relationships: true }).partial();
export type SpaceQuotaLimits = Omit<z.infer<typeof UpdateSpaceQuota>, 'name'>;

export const ApplyQuota = ToMany;

export const ORGANIZATION_QUOTA_LIST: ListSpec = { filters: ['guids', 'names', 'organization_guids'], order: ['name'] };
export const SPACE_QUOTA_LIST: ListSpec = {
  filters: ['guids', 'names', 'organization_guids', 'space_guids'],
  order: ['name'],
};
