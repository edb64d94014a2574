import { type RawBuilder, sql } from 'kysely';
import { isInPermittedSpace, isOneOf } from '../api/list-store.ts';
import type { Caller } from '../api/caller.ts';
import type { Scope } from '../api/permissions.ts';

/** What decides on the plans that somebody sees: all of them, public ones, those of his organizations and spaces. */
export interface PlanViewer {
  seesAll: boolean;
  organization_guids: readonly string[];
  space_scope: Scope;
}

export function planViewer(caller: Caller): PlanViewer {
  const scope = caller.scope('organization.read');
  return {
    seesAll: caller.seesEverything,
    organization_guids: scope.everywhere ? [] : [...scope.organization_guids, ...scope.space_organization_guids],
    space_scope: caller.scope('service_plan.read_in_space'),
  };
}

const brokerSpace = sql`(select service_brokers.space_guid from service_brokers
  join service_offerings o on o.service_broker_guid = service_brokers.guid
  where o.guid = service_plans.service_offering_guid)`;

/** A condition on `service_plans`. */
export function isPlanVisible(viewer: PlanViewer): RawBuilder<boolean> {
  if (viewer.seesAll) return sql<boolean>`true`;
  return sql<boolean>`(service_plans.visibility_type = 'public'
    or (service_plans.visibility_type = 'organization' and ${isEnabledFor(viewer.organization_guids)})
    or (service_plans.visibility_type = 'space' and exists (
      select 1 from spaces plan_space where plan_space.guid = ${brokerSpace}
        and ${isInPermittedSpace(viewer.space_scope, 'plan_space.guid')})))`;
}

function isEnabledFor(organization_guids: readonly string[]): RawBuilder<boolean> {
  return sql<boolean>`exists (select 1 from service_plan_visibilities v
    where v.service_plan_guid = service_plans.guid and ${isOneOf('v.organization_guid', organization_guids)})`;
}

/** Plans of which instances can be made in one of these spaces or organizations; public ones in all. */
export function canUseIn(places: {
  space_guids?: readonly string[];
  organization_guids?: readonly string[];
}): RawBuilder<boolean> {
  const { space_guids = [], organization_guids = [] } = places;
  return sql<boolean>`(service_plans.visibility_type = 'public'
    or (service_plans.visibility_type = 'organization' and exists (
      select 1 from service_plan_visibilities v where v.service_plan_guid = service_plans.guid
        and (${isOneOf('v.organization_guid', organization_guids)} or v.organization_guid in (
          select organization_guid from spaces where guid = any(${[...space_guids]}::text[])))))
    or (service_plans.visibility_type = 'space' and exists (
      select 1 from spaces plan_space where plan_space.guid = ${brokerSpace}
        and (${isOneOf('plan_space.guid', space_guids)}
          or ${isOneOf('plan_space.organization_guid', organization_guids)}))))`;
}
