import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation } from '#db/database.ts';
import { parseBody } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { type FieldSpec, fieldParameters, parseFields, pickFields } from '../api/fields.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListQuery, type ListSpec, parseList, parseShow } from '../api/list.ts';
import { metadataColumns, MetadataUpdate } from '../api/metadata.ts';
import { existingGuids, inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { recordAuditEvent } from '../events.ts';
import { presentOrganization } from '../organizations/presenter.ts';
import { organizationsByGuid } from '../organizations/store.ts';
import { presentServiceBroker } from '../service-brokers/presenter.ts';
import { serviceBrokersByGuid } from '../service-brokers/store.ts';
import { checkBoolean, requireOfferWrite } from '../service-offerings/endpoints.ts';
import { presentServiceOffering } from '../service-offerings/presenter.ts';
import { serviceOfferingsByGuid } from '../service-offerings/store.ts';
import { presentSpace } from '../spaces/presenter.ts';
import { findSpace, spacesByGuid } from '../spaces/store.ts';
import { presentServicePlan } from './presenter.ts';
import {
  deleteServicePlan,
  findServicePlan,
  listServicePlans,
  organizationsOfPlan,
  removePlanOrganization,
  type ServicePlan,
  setPlanVisibility,
  updatePlanMetadata,
} from './store.ts';
import { planViewer } from './visible-store.ts';

const FIELDS: FieldSpec = { 'service_offering.service_broker': ['guid', 'name'] };
const INCLUDE = ['space.organization', 'service_offering'];
const LIST: ListSpec = {
  filters: [
    'guids',
    'names',
    'broker_catalog_ids',
    'space_guids',
    'organization_guids',
    'service_broker_guids',
    'service_broker_names',
    'service_offering_guids',
    'service_offering_names',
    'service_instance_guids',
  ],
  plain: ['available', ...fieldParameters(FIELDS)],
  include: INCLUDE,
  order: ['name'],
  labels: true,
};
const UpdateServicePlan = z.strictObject({ metadata: MetadataUpdate.optional() });
const Visibility = z.strictObject({
  type: z.enum(['public', 'admin', 'organization']),
  organizations: z
    .array(z.object({ guid: z.string() }))
    .max(5000)
    .optional(),
});
type ByGuid = { Params: { guid: string } };

export function registerServicePlanEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links } = deps;
  const see = async (caller: Caller, guid: string): Promise<ServicePlan> => {
    const found = await findServicePlan(db, guid, planViewer(caller));
    if (!found) throw notFound('Service plan');
    return found;
  };
  const include = async (
    query: ListQuery,
    rows: readonly ServicePlan[],
  ): Promise<Record<string, unknown[]> | undefined> => {
    const included: Record<string, unknown[]> = {};
    if (query.include.has('service_offering')) {
      const guids = rows.map((row) => row.service_offering_guid);
      const found = await serviceOfferingsByGuid(db, guids);
      included['service_offerings'] = found.map((row) => presentServiceOffering(row, links));
    }
    if (query.include.has('space.organization')) {
      const guids = rows.flatMap((row) => (row.space_guid === null ? [] : [row.space_guid]));
      const spaces = await spacesByGuid(db, guids);
      const organizations = await organizationsByGuid(
        db,
        spaces.map((space) => space.organization_guid),
      );
      included['spaces'] = spaces.map((row) => presentSpace(row, links));
      included['organizations'] = organizations.map((row) => presentOrganization(row, links));
    }
    const keys = parseFields(query, FIELDS).get('service_offering.service_broker');
    if (keys) {
      const found = await serviceBrokersByGuid(
        db,
        rows.map((row) => row.broker_guid),
      );
      included['service_brokers'] = found.map((row) => pickFields(presentServiceBroker(row, links), keys));
    }
    return Object.keys(included).length === 0 ? undefined : included;
  };

  server.get('/v3/service_plans', { config: { list: LIST } }, async (request) => {
    const query = parseList(request, LIST);
    checkBoolean(query.plain['available']);
    const page = await listServicePlans(db, query, planViewer(request.caller));
    const included = await include(query, page.rows);
    return presentPage(page, { query, links, present: (row) => presentServicePlan(row, links), included });
  });

  server.get<ByGuid>('/v3/service_plans/:guid', async (request) => {
    const found = await see(request.caller, request.params.guid);
    const included = await include(parseShow(request, { include: INCLUDE, plain: fieldParameters(FIELDS) }), [found]);
    return { ...presentServicePlan(found, links), ...(included && { included }) };
  });

  server.patch<ByGuid>(
    '/v3/service_plans/:guid',
    { config: { body: UpdateServicePlan } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      requireOfferWrite(caller, found);
      const { metadata } = parseBody(UpdateServicePlan, body);
      await updatePlanMetadata(db, found.guid, metadataColumns(found, metadata));
      return presentServicePlan(await see(caller, found.guid), links);
    },
  );

  server.delete<ByGuid>('/v3/service_plans/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    requireOfferWrite(caller, found);
    try {
      await deleteServicePlan(db, found.guid);
    } catch (error) {
      if (!isForeignKeyViolation(error)) throw error;
      throw new CfError(
        'AssociationNotEmpty',
        'Please delete the service_instances associations for your service_plans.',
      );
    }
    return reply.code(204).send();
  });

  const path = '/v3/service_plans/:guid/visibility';
  const presentVisibility = async (plan: ServicePlan, caller: Caller): Promise<Record<string, unknown>> => {
    if (plan.visibility_type === 'space') {
      const space = plan.space_guid === null ? undefined : await findSpace(db, plan.space_guid);
      return { type: 'space', space: { guid: space?.guid, name: space?.name } };
    }
    if (plan.visibility_type !== 'organization') return { type: plan.visibility_type };
    const organizations = await organizationsOfPlan(db, plan.guid);
    const readable = organizations.filter(({ guid }) => caller.may('organization.read', { organization_guid: guid }));
    return { type: 'organization', organizations: readable };
  };
  server.get<ByGuid>(path, async ({ params, caller }) => presentVisibility(await see(caller, params.guid), caller));

  for (const method of ['PATCH', 'POST'] as const) {
    server.route<ByGuid>({
      method,
      url: path,
      config: { body: Visibility },
      handler: async ({ params, body, caller }) => {
        const found = await see(caller, params.guid);
        caller.require('platform.write');
        const { type, organizations } = parseBody(Visibility, body);
        const organization_guids = organizations?.map(({ guid }) => guid) ?? [];
        await checkVisibility(found, type, organization_guids);
        await inTransaction(db, async (trx) => {
          await setPlanVisibility(trx, found.guid, { type, organization_guids, replace: method === 'PATCH' });
          await recordAuditEvent(trx, {
            type: 'audit.service_plan_visibility.update',
            actor: caller.actor,
            target: { guid: found.guid, type: 'service_plan_visibility', name: found.name },
            data: { request: { type, organizations: organization_guids } },
          });
        });
        const changed = await see(caller, found.guid);
        return method === 'PATCH' ? await presentVisibility(changed, caller) : { type: changed.visibility_type };
      },
    });
  }

  const checkVisibility = async (
    plan: ServicePlan,
    type: 'public' | 'admin' | 'organization',
    organization_guids: readonly string[],
  ): Promise<void> => {
    if (plan.visibility_type === 'space') {
      throw unprocessable("cannot update plans with visibility type 'space'");
    }
    if (type !== 'organization') {
      if (organization_guids.length > 0)
        throw unprocessable("Organizations must be blank when type isn't 'organization'");
      return;
    }
    if (organization_guids.length === 0) throw unprocessable("Organizations can't be blank");
    const known = await existingGuids(db, 'organizations', organization_guids);
    const missing = organization_guids.find((guid) => !known.has(guid));
    if (missing !== undefined) throw unprocessable(`Could not find Organization with guid: ${missing}`);
  };

  type Organization = { Params: { guid: string; organization_guid: string } };
  server.delete<Organization>(`${path}/:organization_guid`, async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('platform.write');
    if (found.visibility_type !== 'organization') {
      throw unprocessable('Cannot delete visibilities from non-org-restricted plans');
    }
    const isRemoved = await inTransaction(
      db,
      async (trx) => await removePlanOrganization(trx, found.guid, params.organization_guid),
    );
    if (!isRemoved) throw notFound('Service plan visibility');
    return reply.code(204).send();
  });
}
