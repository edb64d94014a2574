import type { FastifyInstance } from 'fastify';
import { CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import { fieldParameters, parseFields } from '../api/fields.ts';
import { presentPage } from '../api/list-store.ts';
import { badQuery, type ListQuery, parseList, parseShow } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import { BrokerTrouble } from '../broker-client/trouble.ts';
import type { Deps } from '../deps.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { accessTo, targetOf } from '../service-operations/broker-access.ts';
import { hasFailedCreate, isBusy } from '../service-operations/operation.ts';
import { findSpace } from '../spaces/store.ts';
import { includedOffer, includedPlaces } from './include.ts';
import { registerInstanceJobs } from './jobs.ts';
import { createManaged, enqueueInstanceDelete, operationInProgress, updateManaged } from './managed.ts';
import { maySeeInstance, seeInstance, writableInstance } from './policy.ts';
import { purgeInstance } from './purge-store.ts';
import { presentServiceInstance } from './presenter.ts';
import {
  CreateManaged,
  CreateServiceInstance,
  CreateUserProvided,
  INSTANCE_FIELDS,
  INSTANCE_LIST,
  InstanceKind,
  UpdateManaged,
  UpdateServiceInstance,
} from './schema.ts';
import { findServiceInstance, listServiceInstances, type ServiceInstance } from './store.ts';
import { createUserProvided, deleteUserProvided, recordUserProvided, updateUserProvided } from './user-provided.ts';

type ByGuid = { Params: { guid: string } };

export function registerServiceInstanceEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, vault, jobs, effects, brokers } = deps;
  registerInstanceJobs(deps);
  const show = async (guid: string): Promise<Record<string, unknown>> => {
    const found = await findServiceInstance(db, guid);
    if (!found) throw notFound('Service instance');
    return presentServiceInstance(found, links);
  };
  const include = async (
    query: ListQuery,
    rows: readonly ServiceInstance[],
  ): Promise<Record<string, unknown[]> | undefined> => {
    const fields = parseFields(query, INSTANCE_FIELDS);
    if (fields.size === 0) return undefined;
    return {
      ...(await includedPlaces(db, fields, { rows, links })),
      ...(await includedOffer(db, fields, { rows, links })),
    };
  };

  server.get('/v3/service_instances', { config: { list: INSTANCE_LIST } }, async (request) => {
    const query = parseList(request, INSTANCE_LIST);
    const { type } = query.plain;
    if (type !== undefined && type !== 'managed' && type !== 'user-provided') {
      throw badQuery("Type must be one of 'managed', 'user-provided'");
    }
    const page = await listServiceInstances(db, query, request.caller.scope('service_instance.read'));
    const included = await include(query, page.rows);
    return presentPage(page, { query, links, present: (row) => presentServiceInstance(row, links), included });
  });

  server.get<ByGuid>('/v3/service_instances/:guid', async (request) => {
    const found = await seeInstance(db, request.caller, request.params.guid);
    const query = parseShow(request, { plain: fieldParameters(INSTANCE_FIELDS) });
    const included = await include(query, [found]);
    return { ...presentServiceInstance(found, links), ...(included && { included }) };
  });

  server.post('/v3/service_instances', { config: { body: CreateServiceInstance } }, async ({ body, caller }, reply) => {
    vault.requireKey();
    await requireFeature(db, 'service_instance_creation', caller);
    const { type } = parseBody(InstanceKind, body);
    const wanted = type === 'managed' ? parseBody(CreateManaged, body) : parseBody(CreateUserProvided, body);
    const space = await findSpace(db, wanted.relationships.space.data.guid);
    if (!space || !caller.may('space.read', space)) {
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
    }
    caller.require('service_instance.write', space);
    if (wanted.type === 'managed') {
      return await jobs.accept(reply, await createManaged(deps, caller, wanted, space));
    }
    const guid = await createUserProvided(deps, caller, wanted, space);
    return reply.code(201).send(await show(guid));
  });

  server.patch<ByGuid>(
    '/v3/service_instances/:guid',
    { config: { body: UpdateServiceInstance } },
    async ({ params, body, caller }, reply) => {
      vault.requireKey();
      const found = await writableInstance(db, caller, params.guid);
      if (found.type === 'user-provided') {
        await updateUserProvided(deps, caller, body, found);
        return await show(found.guid);
      }
      const job_guid = await updateManaged(deps, caller, parseBody(UpdateManaged, body), found);
      return job_guid === undefined ? await show(found.guid) : await jobs.accept(reply, job_guid);
    },
  );

  type Delete = ByGuid & { Querystring: { purge?: string } };
  server.delete<Delete>('/v3/service_instances/:guid', async ({ params, query, caller }, reply) => {
    const found = await writableInstance(db, caller, params.guid);
    if (query.purge === 'true') {
      if (found.type === 'managed' && found.broker_space_guid === null) caller.require('platform.write');
      const app_guids = await inTransaction(db, async (trx) => await purgeInstance(trx, found.guid, caller.actor));
      await effects.routesChanged(app_guids);
      return reply.code(204).send();
    }
    if (found.type === 'user-provided') {
      await deleteUserProvided(deps, caller, found);
      return reply.code(204).send();
    }
    const by = { actor: caller.actor, user_guid: caller.guid };
    const job_guid = await inTransaction(db, async (trx) => await enqueueInstanceDelete(deps, trx, found.guid, by));
    if (job_guid === undefined) throw notFound('Service instance');
    return await jobs.accept(reply, job_guid);
  });

  server.get<ByGuid>('/v3/service_instances/:guid/parameters', async ({ params, caller }) => {
    const found = await seeInstance(db, caller, params.guid);
    if (hasFailedCreate(found)) throw notFound('Service instance');
    if (found.broker_guid === null || found.instances_retrievable !== true) {
      throw new CfError(
        'ServiceFetchInstanceParametersNotSupported',
        'This service does not support fetching service instance parameters.',
      );
    }
    if (isBusy(found)) throw operationInProgress(found);
    try {
      const access = await accessTo(deps, found.broker_guid);
      return (await brokers.fetchInstance(access, targetOf(found), caller.guid)).parameters ?? {};
    } catch (error) {
      throw error instanceof BrokerTrouble ? error.toCfError() : error;
    }
  });

  server.get<ByGuid>('/v3/service_instances/:guid/credentials', async ({ params, caller }) => {
    const found = await seeInstance(db, caller, params.guid);
    if (found.type !== 'user-provided') throw notFound('Service instance');
    caller.require('service_instance.read_credentials', found);
    await inTransaction(db, async (trx) => {
      await recordUserProvided(trx, found, caller, { what: 'show', request: {} });
    });
    return vault.openObject(found.credentials_sealed, found.guid);
  });

  server.get<ByGuid>('/v3/service_instances/:guid/permissions', async ({ params, caller }) => {
    const found = await findServiceInstance(db, params.guid);
    if (!found) throw notFound('Service instance');
    return { manage: caller.may('service_instance.write', found), read: maySeeInstance(caller, found) };
  });
}
