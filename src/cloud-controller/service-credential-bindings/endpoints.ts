import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import { presentApp } from '../apps/presenter.ts';
import { findApp } from '../apps/store.ts';
import { parseBody } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListQuery, parseList, parseShow } from '../api/list.ts';
import { metadataColumns } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import { BrokerTrouble } from '../broker-client/trouble.ts';
import type { Deps } from '../deps.ts';
import { maySeeInstance } from '../service-instances/policy.ts';
import { presentServiceInstance } from '../service-instances/presenter.ts';
import { findServiceInstance, type ServiceInstance, serviceInstancesByGuid } from '../service-instances/store.ts';
import { accessTo, targetOf } from '../service-operations/broker-access.ts';
import { mitigateOrphan } from '../service-operations/orphans.ts';
import { begun, isBusy } from '../service-operations/operation.ts';
import { checkParameters } from '../service-parameters/check.ts';
import { createAppBinding, recordBindingEvent } from './create.ts';
import { registerBindingJobs } from './jobs.ts';
import { createKey, enqueueBind, requireMade, unbind } from './managed.ts';
import { presentCredentialBinding } from './presenter.ts';
import {
  BINDING_LIST,
  BindingKind,
  CreateAppBinding,
  CreateCredentialBinding,
  CreateKeyBinding,
  UpdateCredentialBinding,
} from './schema.ts';
import {
  appRowsByGuid,
  type CredentialBinding,
  findCredentialBinding,
  listCredentialBindings,
  updateCredentialBinding,
} from './store.ts';

const HIDDEN = '[PRIVATE DATA HIDDEN]';
type ByGuid = { Params: { guid: string } };

export function registerCredentialBindingEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, vault, jobs, brokers } = deps;
  registerBindingJobs(deps);
  const see = async (caller: Caller, guid: string): Promise<CredentialBinding> =>
    caller.see('service_instance.read', await findCredentialBinding(db, guid), 'Service credential binding');
  const show = async (guid: string): Promise<Record<string, unknown>> => {
    const found = await findCredentialBinding(db, guid);
    if (!found) throw notFound('Service credential binding');
    return presentCredentialBinding(found, links);
  };
  const include = async (
    query: ListQuery,
    rows: readonly CredentialBinding[],
  ): Promise<Record<string, unknown[]> | undefined> => {
    const included: Record<string, unknown[]> = {};
    if (query.include.has('app')) {
      const found = await appRowsByGuid(
        db,
        rows.flatMap((row) => (row.app_guid === null ? [] : [row.app_guid])),
      );
      included['apps'] = found.map((row) => presentApp(row, links));
    }
    if (query.include.has('service_instance')) {
      const found = await serviceInstancesByGuid(
        db,
        rows.map((row) => row.service_instance_guid),
      );
      included['service_instances'] = found.map((row) => presentServiceInstance(row, links));
    }
    return query.include.size === 0 ? undefined : included;
  };

  server.get('/v3/service_credential_bindings', { config: { list: BINDING_LIST } }, async (request) => {
    const query = parseList(request, BINDING_LIST);
    const page = await listCredentialBindings(db, query, request.caller.scope('service_instance.read'));
    const included = await include(query, page.rows);
    return presentPage(page, { query, links, present: (row) => presentCredentialBinding(row, links), included });
  });

  server.get<ByGuid>('/v3/service_credential_bindings/:guid', async (request) => {
    const found = await see(request.caller, request.params.guid);
    const query = parseShow(request, { include: ['app', 'service_instance'] });
    const included = await include(query, [found]);
    return { ...presentCredentialBinding(found, links), ...(included && { included }) };
  });

  server.get<ByGuid>('/v3/service_credential_bindings/:guid/details', async ({ params, caller }) => {
    const found = await see(caller, params.guid);
    if (!caller.may('service_binding.read_details', found)) throw notFound('Service credential binding');
    requireMade(found);
    const instance = await findServiceInstance(db, found.service_instance_guid);
    if (!instance) throw notFound('Service credential binding');
    await inTransaction(db, async (trx) => {
      await recordBindingEvent(trx, found, caller.actor, { what: 'show' });
    });
    const isManaged = instance.type === 'managed';
    const drain = isManaged ? found.syslog_drain_url : instance.syslog_drain_url;
    return {
      credentials: isManaged
        ? vault.openObject(found.credentials_sealed, found.guid)
        : vault.openObject(instance.credentials_sealed, instance.guid),
      ...(drain !== null && { syslog_drain_url: drain }),
      ...(found.volume_mounts.length > 0 && { volume_mounts: found.volume_mounts }),
    };
  });

  server.post(
    '/v3/service_credential_bindings',
    { config: { body: CreateCredentialBinding } },
    async ({ body, caller }, reply) => {
      vault.requireKey();
      const { type } = parseBody(BindingKind, body);
      const wanted = type === 'app' ? parseBody(CreateAppBinding, body) : parseBody(CreateKeyBinding, body);
      const instance_guid = wanted.relationships.service_instance.data.guid;
      const instance = await findServiceInstance(db, instance_guid);
      if (!instance || !maySeeInstance(caller, instance)) {
        throw unprocessable(`The service instance could not be found: '${instance_guid}'`);
      }
      if (instance.type === 'user-provided' && wanted.parameters != null) {
        throw unprocessable('Binding parameters are not supported for user-provided service instances');
      }
      await checkParameters(db, instance.service_plan_guid, ['service_binding', 'create'], wanted.parameters);
      return wanted.type === 'app'
        ? await bindApp(wanted, instance, caller, reply)
        : await makeKey(wanted, instance, caller, reply);
    },
  );

  const bindApp = async (
    wanted: CreateAppBinding,
    instance: ServiceInstance,
    caller: Caller,
    reply: FastifyReply,
  ): Promise<FastifyReply> => {
    const app_guid = wanted.relationships.app.data.guid;
    const app = await findApp(db, app_guid);
    if (!app || !caller.may('app.read', app)) throw unprocessable(`The app could not be found: '${app_guid}'`);
    caller.require('service_binding.write_app', app);
    const guid = randomUUID();
    const isManaged = instance.type === 'managed';
    const by = { actor: caller.actor, user_guid: caller.guid };
    const job_guid = await inTransaction(db, async (trx) => {
      const binding = { guid, type: 'app' as const, parameters: wanted.parameters };
      const job = isManaged ? await enqueueBind(deps, trx, binding, by) : undefined;
      const failed = await createAppBinding(trx, instance, app, {
        guid,
        name: wanted.name ?? null,
        strategy: wanted.strategy,
        metadata: wanted.metadata,
        operation: begun('create', isManaged ? 'initial' : 'succeeded', job),
      });
      const { broker_guid } = instance;
      for (const left of broker_guid === null ? [] : failed) {
        const target = targetOf(instance, left.guid);
        await mitigateOrphan(deps, trx, { broker_guid: broker_guid ?? '', target, user_guid: caller.guid });
      }
      const { space_guid, organization_guid } = app;
      const request = { ...wanted, ...(wanted.parameters != null && { parameters: HIDDEN }) };
      const event = { what: isManaged ? 'start_create' : 'create', data: { request } };
      const about = { guid, type: 'app' as const, name: wanted.name ?? null, space_guid, organization_guid };
      await recordBindingEvent(trx, about, caller.actor, event);
      return job;
    });
    if (job_guid !== undefined) return await jobs.accept(reply, job_guid);
    return reply.code(201).send(await show(guid));
  };

  const makeKey = async (
    wanted: CreateKeyBinding,
    instance: ServiceInstance,
    caller: Caller,
    reply: FastifyReply,
  ): Promise<FastifyReply> => {
    caller.require('service_binding.write_key', instance);
    if (instance.type === 'user-provided') {
      throw unprocessable(
        "Service credential bindings of type 'key' are not supported for user-provided service instances.",
      );
    }
    const by = { actor: caller.actor, user_guid: caller.guid };
    const job_guid = await inTransaction(db, async (trx) => await createKey(deps, trx, { instance, wanted, by }));
    return await jobs.accept(reply, job_guid);
  };

  server.patch<ByGuid>(
    '/v3/service_credential_bindings/:guid',
    { config: { body: UpdateCredentialBinding } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      caller.require('service_binding.write_key', found);
      if (isBusy(found) && found.operation_type === 'delete') {
        throw unprocessable('The service binding is being deleted');
      }
      const { metadata } = parseBody(UpdateCredentialBinding, body);
      await updateCredentialBinding(db, found.guid, metadataColumns(found, metadata));
      return await show(found.guid);
    },
  );

  server.delete<ByGuid>('/v3/service_credential_bindings/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require(found.type === 'app' ? 'service_binding.write_app' : 'service_binding.write_key', found);
    const by = { actor: caller.actor, user_guid: caller.guid };
    const job_guid = await inTransaction(db, async (trx) => await unbind(deps, trx, found.guid, by));
    return job_guid === undefined ? reply.code(204).send() : await jobs.accept(reply, job_guid);
  });

  server.get<ByGuid>('/v3/service_credential_bindings/:guid/parameters', async ({ params, caller }) => {
    const found = await see(caller, params.guid);
    caller.require('service_binding.read_parameters', found);
    requireMade(found);
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
}
