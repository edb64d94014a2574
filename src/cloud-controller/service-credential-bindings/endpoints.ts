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
import type { Deps } from '../deps.ts';
import { maySeeInstance } from '../service-instances/policy.ts';
import { presentServiceInstance } from '../service-instances/presenter.ts';
import { findServiceInstance, type ServiceInstance, serviceInstancesByGuid } from '../service-instances/store.ts';
import { begun, isBusy } from '../service-operations/operation.ts';
import { createAppBinding, recordBindingEvent } from './create.ts';
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
  deleteCredentialBinding,
  findCredentialBinding,
  listCredentialBindings,
  updateCredentialBinding,
} from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerCredentialBindingEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, vault } = deps;
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
    const guid = await inTransaction(db, async (trx) => {
      const made = await createAppBinding(trx, instance, app, {
        name: wanted.name ?? null,
        strategy: wanted.strategy,
        metadata: wanted.metadata,
        operation: begun('create', 'succeeded'),
      });
      const place = { space_guid: app.space_guid, organization_guid: app.organization_guid };
      const binding = { guid: made.guid, type: 'app' as const, name: wanted.name ?? null, ...place };
      await recordBindingEvent(trx, binding, caller.actor, { what: 'create', data: { request: wanted } });
      return made.guid;
    });
    return reply.code(201).send(await show(guid));
  };

  const makeKey = async (
    _wanted: CreateKeyBinding,
    instance: ServiceInstance,
    caller: Caller,
    _reply: FastifyReply,
  ): Promise<FastifyReply> => {
    caller.require('service_binding.write_key', instance);
    throw unprocessable(
      "Service credential bindings of type 'key' are not supported for user-provided service instances.",
    );
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
    await inTransaction(db, async (trx) => {
      await deleteCredentialBinding(trx, found.guid);
      await recordBindingEvent(trx, found, caller.actor, { what: 'delete' });
    });
    return reply.code(204).send();
  });
}

/** Errors: 404 that says what became of it, unless it was made. */
function requireMade(binding: CredentialBinding): void {
  if (binding.operation_type === 'create' && binding.operation_state === 'succeeded') return;
  const what = binding.type === 'app' ? 'binding' : 'key';
  const operation = binding.operation_type === 'create' ? 'Creation' : 'Deletion';
  throw new CfError('ResourceNotFound', `${operation} of service ${what} ${binding.operation_state}`);
}
