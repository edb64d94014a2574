import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import { parseBody, relationships, ToOne } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListQuery, type ListSpec, parseList, parseShow } from '../api/list.ts';
import { metadataColumns, MetadataUpdate } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import { BrokerTrouble } from '../broker-client/trouble.ts';
import type { Deps } from '../deps.ts';
import { findDomain } from '../domains/store.ts';
import { appsOfRoute } from '../routes/destinations-store.ts';
import { presentRoute } from '../routes/presenter.ts';
import { findRoute, routesByGuid, type Route } from '../routes/store.ts';
import { maySeeInstance } from '../service-instances/policy.ts';
import { presentServiceInstance } from '../service-instances/presenter.ts';
import { findServiceInstance, type ServiceInstance, serviceInstancesByGuid } from '../service-instances/store.ts';
import { accessTo, targetOf } from '../service-operations/broker-access.ts';
import { begun, isBusy, presentOperation } from '../service-operations/operation.ts';
import { checkParameters } from '../service-parameters/check.ts';
import { enqueueRouteBind, recordRouteBindingEvent, registerRouteBindingJobs, unbindRoute } from './managed.ts';
import {
  bindingOfRoute,
  findRouteBinding,
  insertRouteBinding,
  listRouteBindings,
  otherService,
  type RouteBinding,
  updateRouteBinding,
} from './store.ts';

const CreateRouteBinding = z.strictObject({
  parameters: z.record(z.string(), z.unknown()).nullable().optional(),
  metadata: MetadataUpdate.optional(),
  relationships: relationships({ route: ToOne('Route'), service_instance: ToOne('Service instance') }),
});
const UpdateRouteBinding = z.strictObject({ metadata: MetadataUpdate.optional() });
const LIST: ListSpec = {
  filters: ['guids', 'route_guids', 'service_instance_guids', 'service_instance_names'],
  include: ['route', 'service_instance'],
  labels: true,
};
type ByGuid = { Params: { guid: string } };

export function registerRouteBindingEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, jobs, vault, effects, brokers } = deps;
  registerRouteBindingJobs(deps);
  const see = async (caller: Caller, guid: string): Promise<RouteBinding> =>
    caller.see('service_instance.read', await findRouteBinding(db, guid), 'Service route binding');
  const include = async (
    query: ListQuery,
    rows: readonly RouteBinding[],
  ): Promise<Record<string, unknown[]> | undefined> => {
    if (query.include.size === 0) return undefined;
    const included: Record<string, unknown[]> = {};
    if (query.include.has('route')) {
      const found = await routesByGuid(
        db,
        rows.map((row) => row.route_guid),
      );
      included['routes'] = found.map((row) => presentRoute(row, links));
    }
    if (query.include.has('service_instance')) {
      const found = await serviceInstancesByGuid(
        db,
        rows.map((row) => row.service_instance_guid),
      );
      included['service_instances'] = found.map((row) => presentServiceInstance(row, links));
    }
    return included;
  };

  server.get('/v3/service_route_bindings', { config: { list: LIST } }, async (request) => {
    const query = parseList(request, LIST);
    const page = await listRouteBindings(db, query, request.caller.scope('service_instance.read'));
    const included = await include(query, page.rows);
    return presentPage(page, { query, links, present: (row) => presentRouteBinding(row, links), included });
  });

  server.get<ByGuid>('/v3/service_route_bindings/:guid', async (request) => {
    const found = await see(request.caller, request.params.guid);
    const included = await include(parseShow(request, { include: ['route', 'service_instance'] }), [found]);
    return { ...presentRouteBinding(found, links), ...(included && { included }) };
  });

  server.get<ByGuid>('/v3/service_route_bindings/:guid/parameters', async ({ params, caller }) => {
    const found = await see(caller, params.guid);
    caller.require('service_binding.read_details', found);
    const instance = await findServiceInstance(db, found.service_instance_guid);
    if (!instance || instance.broker_guid === null || instance.bindings_retrievable !== true) {
      throw new CfError(
        'ServiceFetchBindingParametersNotSupported',
        'This service does not support fetching service binding parameters.',
      );
    }
    try {
      const access = await accessTo(deps, instance.broker_guid);
      return (await brokers.fetchBinding(access, targetOf(instance, found.guid), caller.guid)).parameters ?? {};
    } catch (error) {
      throw error instanceof BrokerTrouble ? error.toCfError() : error;
    }
  });

  server.post(
    '/v3/service_route_bindings',
    { config: { body: CreateRouteBinding } },
    async ({ body, caller }, reply) => {
      vault.requireKey();
      const wanted = parseBody(CreateRouteBinding, body);
      const route = await findRoute(db, wanted.relationships.route.data.guid);
      if (!route || !caller.may('route.read', route)) {
        throw unprocessable(`The route could not be found: ${wanted.relationships.route.data.guid}`);
      }
      const instance = await findServiceInstance(db, wanted.relationships.service_instance.data.guid);
      if (!instance || !maySeeInstance(caller, instance)) {
        throw unprocessable(
          `The service instance could not be found: ${wanted.relationships.service_instance.data.guid}`,
        );
      }
      caller.require('service_route_binding.write', route);
      const domain = await findDomain(db, route.domain_guid);
      if (domain?.internal === true) throw unprocessable('Route services cannot be bound to internal routes');
      checkRouteBindable(instance, route, wanted.parameters != null);
      await checkParameters(db, instance.service_plan_guid, ['service_binding', 'create'], wanted.parameters);
      const guid = randomUUID();
      const by = { actor: caller.actor, user_guid: caller.guid };
      const job_guid = await inTransaction(db, async (trx) => {
        const before = await bindingOfRoute(trx, route.guid);
        if (before) throw alreadyBound(before.service_instance_guid === instance.guid);
        const isManaged = instance.type === 'managed';
        const binding = { guid, parameters: wanted.parameters };
        const job = isManaged ? await enqueueRouteBind(deps, trx, binding, by) : undefined;
        await insertRouteBinding(trx, {
          guid,
          service_instance_guid: instance.guid,
          route_guid: route.guid,
          metadata: wanted.metadata,
          operation: begun('create', isManaged ? 'initial' : 'succeeded', job),
        });
        if (!isManaged) {
          const { space_guid, organization_guid } = route;
          await recordRouteBindingEvent(trx, { guid, space_guid, organization_guid }, caller.actor, 'create');
        }
        return job;
      });
      if (job_guid !== undefined) return await jobs.accept(reply, job_guid);
      await effects.routesChanged(await appsOfRoute(db, route.guid));
      return reply.code(201).send(presentRouteBinding(await see(caller, guid), links));
    },
  );

  server.patch<ByGuid>(
    '/v3/service_route_bindings/:guid',
    { config: { body: UpdateRouteBinding } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      caller.require('service_binding.write_key', found);
      if (isBusy(found) && found.operation_type === 'delete') {
        throw unprocessable('The service route binding is being deleted');
      }
      const { metadata } = parseBody(UpdateRouteBinding, body);
      await updateRouteBinding(db, found.guid, metadataColumns(found, metadata));
      return presentRouteBinding(await see(caller, found.guid), links);
    },
  );

  server.delete<ByGuid>('/v3/service_route_bindings/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('service_route_binding.write', found);
    const by = { actor: caller.actor, user_guid: caller.guid };
    const job_guid = await inTransaction(db, async (trx) => await unbindRoute(deps, trx, found.guid, by));
    if (job_guid !== undefined) return await jobs.accept(reply, job_guid);
    await effects.routesChanged(await appsOfRoute(db, found.route_guid));
    return reply.code(204).send();
  });
}

/** Errors: 422 with Cloud Foundry's texts. */
function checkRouteBindable(instance: ServiceInstance, route: Route, withParameters: boolean): void {
  if (instance.space_guid !== route.space_guid) {
    throw unprocessable('The service instance and the route are in different spaces');
  }
  if (instance.type === 'user-provided') {
    if (withParameters) {
      throw unprocessable('Binding parameters are not supported for user-provided service instances');
    }
    if (instance.route_service_url === null) {
      throw unprocessable('This service instance does not support route binding');
    }
    return;
  }
  if (!(instance.offering_requires ?? []).includes('route_forwarding')) {
    throw unprocessable('This service instance does not support route binding');
  }
  if (instance.plan_bindable === false) throw unprocessable('This service instance does not support binding');
  if (isBusy(instance)) throw unprocessable('There is an operation in progress for the service instance');
}

function alreadyBound(toThisInstance: boolean): CfError {
  if (!toThisInstance) return otherService();
  return new CfError('ServiceInstanceAlreadyBoundToSameRoute', 'The route and service instance are already bound.');
}

function presentRouteBinding(row: RouteBinding, links: Links): Record<string, unknown> {
  const path = `/v3/service_route_bindings/${row.guid}`;
  return {
    ...presentCommon(row),
    route_service_url: row.effective_url,
    last_operation: presentOperation(row),
    ...presentMetadata(row),
    relationships: { service_instance: toOne(row.service_instance_guid), route: toOne(row.route_guid) },
    links: {
      self: links.to(path),
      service_instance: links.to(`/v3/service_instances/${row.service_instance_guid}`),
      route: links.to(`/v3/routes/${row.route_guid}`),
      ...(row.instance_type === 'managed' && { parameters: links.to(`${path}/parameters`) }),
    },
  };
}
