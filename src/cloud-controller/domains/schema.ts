import { z } from 'zod';
import { relationships, ToMany, ToOne } from '../api/body.ts';
import type { ListSpec } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';

/** A host name with at least one dot, by RFC 1035; kept in lower case. */
const DomainName = z.string().superRefine((name, context) => {
  const fault = (message: string): void => context.addIssue({ code: 'custom', message });
  if (name === '') return fault("Name can't be blank");
  if (name.length > 253) fault('Name is too long (maximum is 253 characters)');
  if (!name.includes('.')) fault('Name must contain at least one "."');
  if (!/^[a-z\d-]+(\.[a-z\d-]+)*$/i.test(name) || name.split('.').some((part) => /^-|-$/.test(part))) {
    fault('Name does not comply with RFC 1035 standards');
  }
  if (name.split('.').some((part) => part.length > 63)) fault('Name subdomains must each be at most 63 characters');
});

export const CreateDomain = z
  .strictObject({
    name: DomainName,
    internal: z.boolean().nullable().optional(),
    router_group: z
      .strictObject({ guid: z.string().min(1) })
      .nullable()
      .optional(),
    enforce_route_policies: z.boolean().nullable().optional(),
    route_policies_scope: z
      .enum(['any', 'org', 'space'], { error: "Route policies scope must be one of 'any', 'org', 'space'" })
      .nullable()
      .optional(),
    relationships: relationships({
      organization: ToOne('Organization').optional(),
      shared_organizations: ToMany.optional(),
    }).optional(),
    metadata: MetadataUpdate.optional(),
  })
  .superRefine((domain, context) => {
    const fault = (message: string): void => context.addIssue({ code: 'custom', message });
    const { organization, shared_organizations } = domain.relationships ?? {};
    if (domain.internal === true && organization) fault('Cannot associate an internal domain with an organization');
    if (domain.internal === true && domain.router_group)
      fault('Internal domains cannot be associated to a router group.');
    if (domain.router_group && organization)
      fault('Domains scoped to an organization cannot be associated to a router group.');
    if (domain.enforce_route_policies === true) {
      if (domain.internal === true)
        fault('Internal domains cannot have route policy enforcement. Internal routes bypass GoRouter.');
      if (domain.router_group) {
        fault(
          'Domains with a router group cannot have route policy enforcement. TCP routes do not support mTLS policy enforcement.',
        );
      }
      if (domain.route_policies_scope == null)
        fault('Route policies scope is required when enforce_route_policies is true');
    }
    if (shared_organizations && !organization) {
      fault('Relationships cannot contain shared_organizations without an owning organization.');
    }
  });
export type CreateDomain = z.infer<typeof CreateDomain>;

export const UpdateDomain = z.strictObject({ metadata: MetadataUpdate.optional() });
export const ShareDomain = ToMany;

export const DOMAIN_LIST: ListSpec = { filters: ['guids', 'names', 'organization_guids'], labels: true };
