import type { FastifyInstance } from 'fastify';
import { unprocessable } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList, parseShow } from '../api/list.ts';
import { metadataColumns } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { insertProcess } from '../processes/store.ts';
import { findSpace } from '../spaces/store.ts';
import { stagingCacheKey } from '../staging/staging-message.ts';
import type { Trx } from '../tables.ts';
import { registerAppDelete } from './delete.ts';
import { includedPlaces } from './include.ts';
import {
  type Aftermath,
  carryOut,
  type LifecycleContext,
  recordAppEvent,
  restartApp,
  startApp,
  stopApp,
} from './lifecycle.ts';
import { seeApp } from './policy.ts';
import { presentApp } from './presenter.ts';
import { CreateApp, type LifecycleUpdate, mergeEnvironment, UpdateApp } from './schema.ts';
import { findApp, type FoundApp, insertApp, listApps, updateApp } from './store.ts';
import { checkBuildpacks, checkStack } from './lifecycle-data.ts';

type ByGuid = { Params: { guid: string } };

export const APP_LIST: ListSpec = {
  filters: ['guids', 'names', 'space_guids', 'organization_guids', 'stacks'],
  plain: ['lifecycle_type'],
  order: ['name', 'state'],
  include: ['space', 'space.organization', 'org'],
  labels: true,
};

export function registerAppEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, config, apps } = deps;
  const deleteApp = registerAppDelete(deps);

  server.get('/v3/apps', { config: { list: APP_LIST } }, async (request) => {
    const query = parseList(request, APP_LIST);
    const page = await listApps(db, query, request.caller.scope('app.read'));
    const included = await includedPlaces(db, query.include, { rows: page.rows, links });
    return presentPage(page, { query, links, present: (row) => presentApp(row, links), included });
  });

  server.get<ByGuid>('/v3/apps/:guid', async (request) => {
    const { include } = parseShow(request, { include: APP_LIST.include ?? [] });
    const app = await seeApp(deps, request.caller, request.params.guid);
    const included = await includedPlaces(db, include, { rows: [app], links });
    return { ...presentApp(app, links), ...(included && { included }) };
  });

  server.post('/v3/apps', { config: { body: CreateApp } }, async ({ body, caller }, reply) => {
    const wanted = parseBody(CreateApp, body);
    const space_guid = wanted.relationships.space.data.guid;
    const space = await findSpace(db, space_guid);
    if (!space || !caller.may('space.read', { ...space, space_guid })) {
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
    }
    caller.require('app.create', { ...space, space_guid });
    const created = await inTransaction(
      db,
      async (trx) => await createApp(trx, deps, { ...wanted, space_guid, caller }),
    );
    apps.say(created.guid, `Created app with guid ${created.guid}`);
    return reply.code(201).send(presentApp(created, links));
  });

  server.patch<ByGuid>('/v3/apps/:guid', { config: { body: UpdateApp } }, async ({ params, body, caller }) => {
    const found = await seeApp(deps, caller, params.guid);
    caller.require('app.update', found);
    const wanted = parseBody(UpdateApp, body);
    const updated = await inTransaction(db, async (trx) => {
      const lifecycle = await lifecycleColumns(trx, deps, { update: wanted.lifecycle, current: found });
      const app = await updateApp(trx, found.guid, {
        ...(wanted.name !== undefined && { name: wanted.name }),
        ...lifecycle,
        ...metadataColumns(found, wanted.metadata),
      });
      await recordAppEvent(trx, { ...found, name: app.name }, caller.actor, {
        what: 'update',
        data: { request: wanted },
      });
      return app;
    });
    apps.say(found.guid, `Updated app with guid ${found.guid} (${JSON.stringify(wanted)})`);
    return presentApp(updated, links);
  });

  server.delete<ByGuid>('/v3/apps/:guid', async ({ params, caller }, reply) => {
    const found = await seeApp(deps, caller, params.guid);
    caller.require('app.delete', found);
    return await deleteApp(found, caller, reply);
  });

  const actions: Record<string, (trx: Trx, app: FoundApp, context: LifecycleContext) => Promise<Aftermath>> = {
    start: startApp,
    stop: stopApp,
    restart: restartApp,
  };
  for (const [name, act] of Object.entries(actions)) {
    server.post<ByGuid>(`/v3/apps/:guid/actions/${name}`, async ({ params, caller }) => {
      const found = await seeApp(deps, caller, params.guid);
      caller.require('app.manage', found);
      const aftermath = await inTransaction(db, async (trx) => await act(trx, found, { config, actor: caller.actor }));
      carryOut(apps, found.guid, aftermath);
      return presentApp(await seeApp(deps, caller, params.guid), links);
    });
  }

  server.post<ByGuid>('/v3/apps/:guid/actions/clear_buildpack_cache', async ({ params, caller }, reply) => {
    const found = await seeApp(deps, caller, params.guid);
    caller.require('app.manage', found);
    await apps.blobs.delete('cc-droplets', stagingCacheKey(found.guid, found.stack ?? config.default_stack));
    const job = await deps.jobs.enqueue(db, {
      operation: 'app.clear_buildpack_cache',
      resource: { type: 'apps', guid: found.guid },
      payload: { app_guid: found.guid },
      user_guid: caller.guid,
    });
    return await deps.jobs.accept(reply, job);
  });
  deps.operations.register(
    'app.clear_buildpack_cache',
    (payload) => payload,
    async () => {},
  );
}

/** Makes an app with its web process, whose guid is the app's. Errors: 422 name taken, unknown stack or buildpack. */
export async function createApp(
  trx: Trx,
  deps: Pick<Deps, 'config'>,
  wanted: {
    name: string;
    space_guid: string;
    lifecycle?: LifecycleUpdate | undefined;
    environment_variables?: Parameters<typeof mergeEnvironment>[1] | undefined;
    metadata?: Parameters<typeof metadataColumns>[1];
    caller: Pick<Caller, 'actor'>;
  },
): Promise<FoundApp> {
  const { config } = deps;
  const { type: lifecycle_type = 'buildpack', data } = wanted.lifecycle ?? {};
  if (lifecycle_type === 'cnb') throw unprocessable(`Lifecycle type 'cnb' is not supported by this platform`);
  const isDocker = lifecycle_type === 'docker';
  if (isDocker) refuseBuildpackData(data);
  await checkStack(trx, data?.stack ?? null);
  await checkBuildpacks(trx, data?.buildpacks ?? []);
  const row = await insertApp(trx, {
    name: wanted.name,
    space_guid: wanted.space_guid,
    lifecycle_type,
    buildpacks: data?.buildpacks ?? [],
    stack: isDocker ? null : (data?.stack ?? config.default_stack),
    environment_variables: mergeEnvironment({}, wanted.environment_variables ?? {}),
    metadata: metadataColumns(undefined, wanted.metadata),
  });
  await insertProcess(trx, { guid: row.guid, app_guid: row.guid, type: 'web' }, config);
  const app = await findApp(trx, row.guid);
  if (!app) throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
  await recordAppEvent(trx, app, wanted.caller.actor, { what: 'create', data: { request: { name: wanted.name } } });
  return app;
}

/** Errors: 422: an image has neither. */
export function refuseBuildpackData(data: LifecycleUpdate['data'] | undefined): void {
  if (data?.buildpacks?.length || data?.stack != null)
    throw unprocessable('Lifecycle data of docker apps has no buildpacks and no stack');
}

async function lifecycleColumns(
  trx: Trx,
  deps: Pick<Deps, 'config'>,
  {
    update,
    current,
  }: { update: { type?: string | undefined; data: LifecycleUpdate['data'] } | undefined; current: FoundApp },
): Promise<{ buildpacks?: string; stack?: string }> {
  if (!update) return {};
  if (update.type !== undefined && update.type !== current.lifecycle_type) {
    throw unprocessable('Lifecycle type cannot be changed');
  }
  if (current.lifecycle_type === 'docker') {
    refuseBuildpackData(update.data);
    return {};
  }
  const { buildpacks, stack } = update.data;
  if (stack !== undefined) await checkStack(trx, stack);
  if (buildpacks) await checkBuildpacks(trx, buildpacks);
  return {
    ...(buildpacks !== undefined && { buildpacks: JSON.stringify(buildpacks ?? []) }),
    ...(stack !== undefined && { stack: stack ?? deps.config.default_stack }),
  };
}
