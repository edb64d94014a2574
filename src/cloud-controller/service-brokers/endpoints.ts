import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { presentPage } from '../api/list-store.ts';
import { parseList } from '../api/list.ts';
import { metadataColumns } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { findSpace, type FoundSpace } from '../spaces/store.ts';
import { isBrokerBusy } from './at-rest.ts';
import { type BrokerJob, notRemovable, recordBrokerEvent, registerBrokerJobs } from './jobs.ts';
import { presentServiceBroker } from './presenter.ts';
import { BROKER_LIST, CreateServiceBroker, UpdateServiceBroker } from './schema.ts';
import {
  findServiceBroker,
  hasInstances,
  insertServiceBroker,
  listServiceBrokers,
  lockServiceBroker,
  type ServiceBroker,
  updateServiceBroker,
} from './store.ts';

type ByGuid = { Params: { guid: string } };
const HIDDEN = '[PRIVATE DATA HIDDEN]';

export function registerServiceBrokerEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, jobs, vault } = deps;
  registerBrokerJobs(deps);
  const see = async (caller: Caller, guid: string): Promise<ServiceBroker> => {
    const found = await findServiceBroker(db, guid);
    if (!found || !maySee(caller, found)) throw notFound('Service broker');
    return found;
  };
  const requireWrite = (caller: Caller, broker: ServiceBroker): void => {
    if (broker.space_guid === null) caller.require('platform.write');
    else caller.require('service_broker.write_in_space', broker);
  };

  server.get('/v3/service_brokers', { config: { list: BROKER_LIST } }, async (request) => {
    const { caller } = request;
    const query = parseList(request, BROKER_LIST);
    const visible = { all: caller.may('platform.read'), scope: caller.scope('service_broker.read_in_space') };
    const page = await listServiceBrokers(db, query, visible);
    return presentPage(page, { query, links, present: (row) => presentServiceBroker(row, links) });
  });

  server.get<ByGuid>('/v3/service_brokers/:guid', async ({ params, caller }) =>
    presentServiceBroker(await see(caller, params.guid), links),
  );

  server.post('/v3/service_brokers', { config: { body: CreateServiceBroker } }, async ({ body, caller }, reply) => {
    vault.requireKey();
    const wanted = parseBody(CreateServiceBroker, body);
    const space = await placeFor(caller, wanted.relationships?.space?.data.guid);
    const guid = randomUUID();
    const { username, password } = wanted.authentication.credentials;
    const job_guid = await inTransaction(db, async (trx) => {
      const payload: BrokerJob = { guid, actor: caller.actor };
      const job = await jobs.enqueue(trx, {
        operation: 'service_broker.catalog.synchronize',
        resource: { type: 'service_brokers', guid },
        payload,
        user_guid: caller.guid,
      });
      await insertServiceBroker(trx, {
        guid,
        name: wanted.name,
        url: wanted.url,
        username,
        password_sealed: vault.seal(password, guid),
        space_guid: space?.guid ?? null,
        job_guid: job,
        metadata: wanted.metadata,
      });
      const place = { space_guid: space?.guid ?? null, organization_guid: space?.organization_guid ?? null };
      const request = { ...wanted, authentication: HIDDEN };
      await recordBrokerEvent(trx, { guid, name: wanted.name, ...place }, caller.actor, { what: 'create', request });
      return job;
    });
    return await jobs.accept(reply, job_guid);
  });

  const placeFor = async (caller: Caller, space_guid: string | undefined): Promise<FoundSpace | undefined> => {
    if (space_guid === undefined) {
      caller.require('platform.write');
      return undefined;
    }
    const space = await findSpace(db, space_guid);
    if (!space || !caller.may('space.read', space)) {
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
    }
    await requireFeature(db, 'space_scoped_private_broker_creation', caller);
    caller.require('service_broker.write_in_space', space);
    return space;
  };

  server.patch<ByGuid>(
    '/v3/service_brokers/:guid',
    { config: { body: UpdateServiceBroker } },
    async ({ params, body, caller }, reply) => {
      const found = await see(caller, params.guid);
      requireWrite(caller, found);
      const { metadata, authentication, ...fields } = parseBody(UpdateServiceBroker, body);
      const isDeep = authentication !== undefined || fields.name !== undefined || fields.url !== undefined;
      if (isDeep) vault.requireKey();
      const job_guid = await inTransaction(db, async (trx) => {
        const broker = await lockServiceBroker(trx, found.guid);
        if (!broker) throw notFound('Service broker');
        if (isDeep && (await isBrokerBusy(trx, broker.job_guid))) {
          throw unprocessable('Cannot update a broker when other operation is already in progress');
        }
        if (metadata) await updateServiceBroker(trx, broker.guid, metadataColumns(broker, metadata));
        if (!isDeep) return undefined;
        if (fields.name !== undefined && fields.name !== broker.name) await requireFreeName(fields.name);
        const credentials = authentication?.credentials;
        const payload: BrokerJob = {
          guid: broker.guid,
          actor: caller.actor,
          change: {
            ...fields,
            ...(credentials && {
              username: credentials.username,
              password_sealed: vault.seal(credentials.password, broker.guid),
            }),
          },
        };
        const job = await jobs.enqueue(trx, {
          operation: 'service_broker.update',
          resource: { type: 'service_brokers', guid: broker.guid },
          payload,
          user_guid: caller.guid,
        });
        await updateServiceBroker(trx, broker.guid, { job_guid: job });
        const request = { ...fields, ...(authentication && { authentication: HIDDEN }) };
        await recordBrokerEvent(trx, broker, caller.actor, { what: 'update', request });
        return job;
      });
      if (job_guid !== undefined) return await jobs.accept(reply, job_guid);
      return presentServiceBroker(await see(caller, found.guid), links);
    },
  );

  const requireFreeName = async (name: string): Promise<void> => {
    const taken = await db.selectFrom('service_brokers').select('guid').where('name', '=', name).executeTakeFirst();
    if (taken) throw unprocessable('Name must be unique');
  };

  server.delete<ByGuid>('/v3/service_brokers/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    requireWrite(caller, found);
    if (await hasInstances(db, found.guid)) throw notRemovable(found);
    const job_guid = await inTransaction(db, async (trx) => {
      const payload: BrokerJob = { guid: found.guid, actor: caller.actor };
      const job = await jobs.enqueue(trx, {
        operation: 'service_broker.delete',
        resource: { type: 'service_brokers', guid: found.guid },
        payload,
        user_guid: caller.guid,
      });
      await updateServiceBroker(trx, found.guid, { state: 'DELETE_IN_PROGRESS', job_guid: job });
      return job;
    });
    return await jobs.accept(reply, job_guid);
  });
}

function maySee(caller: Caller, broker: ServiceBroker): boolean {
  if (caller.may('platform.read')) return true;
  return broker.space_guid !== null && caller.may('service_broker.read_in_space', broker);
}
