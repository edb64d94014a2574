import type { FastifyInstance } from 'fastify';
import { notFound } from '#contracts/cf-errors.ts';
import { seeApp } from '../apps/policy.ts';
import { findApp, type FoundApp } from '../apps/store.ts';
import { parseBody } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { presentPage } from '../api/list-store.ts';
import { badQuery, type ListQuery, type ListSpec, parseList, parseShow, splitValues } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { requireFeature } from '../feature-flags/store.ts';
import {
  carryOutScale,
  changeProcess,
  instanceNotFound,
  recordProcessEvent,
  refuseWhileDeploying,
  scaleProcess,
} from './change.ts';
import { presentInstances, presentProcess, presentStats } from './presenter.ts';
import { processSchemas } from './schema.ts';
import { findProcess, findProcessOfType, type FoundProcess, listProcesses } from './store.ts';

type ByGuid = { Params: { guid: string } };
type OfApp = { Params: { guid: string; type: string } };
type Found = { process: FoundProcess; app: FoundApp };
/** The two ways to name a process: by its guid, or by app and type. */
type Find = (params: Record<string, string>, caller: Caller) => Promise<Found>;

const PROCESS_LIST: ListSpec = {
  filters: ['guids', 'types', 'app_guids', 'space_guids', 'organization_guids'],
  plain: ['embed'],
  labels: true,
};

export function registerProcessEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, apps } = deps;

  server.get('/v3/processes', { config: { list: PROCESS_LIST } }, async (request) => {
    const query = parseList(request, PROCESS_LIST);
    const page = await listProcesses(db, query, { scope: request.caller.scope('app.read') });
    const embedded = embedsInstances(query) ? { tracker: apps.tracker } : {};
    return presentPage(page, {
      query,
      links,
      present: (row) => presentProcess(row, { links, as: 'list', ...embedded }),
    });
  });

  server.get<ByGuid>('/v3/apps/:guid/processes', async (request) => {
    const app = await seeApp(deps, request.caller, request.params.guid);
    const query = parseList(request, { ...PROCESS_LIST, filters: ['guids', 'types'] });
    const page = await listProcesses(db, query, { scope: { everywhere: true }, app_guid: app.guid });
    const embedded = embedsInstances(query) ? { tracker: apps.tracker } : {};
    return presentPage(page, {
      query,
      links,
      present: (row) => presentProcess(row, { links, as: 'list', ...embedded }),
    });
  });

  const byGuid: Find = async (params, caller) => {
    const process = caller.see('app.read', await findProcess(db, params['guid'] ?? ''), 'Process');
    return { process, app: await appOf(deps, process) };
  };
  const byType: Find = async (params, caller) => {
    const app = await seeApp(deps, caller, params['guid'] ?? '');
    const process = await findProcessOfType(db, app.guid, params['type'] ?? '');
    if (!process) throw notFound('Process');
    return { process, app };
  };
  registerOne(server, deps, { path: '/v3/processes/:guid', find: byGuid });
  registerOne(server, deps, { path: '/v3/apps/:guid/processes/:type', find: byType });
}

function registerOne(server: FastifyInstance, deps: Deps, named: { path: string; find: Find }): void {
  const { db, links, apps, config, clock } = deps;
  const { path, find } = named;
  const schemas = processSchemas(config);
  const show = async ({ process, app }: Found, caller: Caller): Promise<Record<string, unknown>> => {
    const droplet =
      app.droplet_guid === null
        ? undefined
        : await db
            .selectFrom('droplets')
            .select('process_types')
            .where('guid', '=', app.droplet_guid)
            .executeTakeFirst();
    const as = caller.may('app.read_secrets', app) || caller.may('app.manage', app) ? 'one' : 'redacted';
    return presentProcess(process, { links, as, detected: droplet?.process_types ?? null });
  };

  server.get<OfApp>(path, async (request) => {
    const { plain } = parseShow(request, { plain: ['embed'] });
    const found = await find(request.params, request.caller);
    const shown = await show(found, request.caller);
    return plain['embed'] === 'process_instances'
      ? { ...shown, process_instances: presentInstances(found.process, apps.tracker) }
      : shown;
  });

  server.patch<OfApp>(path, { config: { body: schemas.update } }, async ({ params, body, caller }) => {
    const found = await find(params, caller);
    caller.require('app.manage', found.app);
    const wanted = parseBody(schemas.update, body);
    await refuseWhileDeploying(db, found.process, 'update');
    const process = await inTransaction(db, async (trx) => await changeProcess(trx, found, wanted, caller.actor));
    apps.say(found.app.guid, `Updated process of type ${process.type}`);
    return await show({ app: found.app, process: { ...found.process, ...process } }, caller);
  });

  server.post<OfApp>(
    `${path}/actions/scale`,
    { config: { body: schemas.scale } },
    async ({ params, body, caller }, reply) => {
      const found = await find(params, caller);
      caller.require('app.manage', found.app);
      const wanted = parseBody(schemas.scale, body);
      await requireFeature(db, 'app_scaling', caller);
      await refuseWhileDeploying(db, found.process, 'scale');
      const process = await inTransaction(db, async (trx) => await scaleProcess(trx, found, wanted, caller.actor));
      carryOutScale(apps, found.process, process);
      apps.say(found.app.guid, `Scaled process of type ${process.type} (${JSON.stringify(wanted)})`);
      return reply.code(202).send(await show({ app: found.app, process: { ...found.process, ...process } }, caller));
    },
  );

  server.get<OfApp>(`${path}/stats`, async ({ params, caller }) => {
    const { process } = await find(params, caller);
    const context = { tracker: apps.tracker, now_ms: clock.now(), fds: config.limits.fds };
    return presentStats(process, context);
  });

  server.get<OfApp>(`${path}/process_instances`, async ({ params, caller }) => {
    const { process } = await find(params, caller);
    const here = `/v3/processes/${process.guid}`;
    return {
      resources: presentInstances(process, apps.tracker),
      links: { self: links.to(`${here}/process_instances`), process: links.to(here) },
    };
  });

  server.delete<{ Params: { guid: string; index: string } }>(
    `${path}/instances/:index`,
    async ({ params, caller }, reply) => {
      const found = await find(params, caller);
      caller.require('app.manage', found.app);
      const { process } = found;
      const index = /^\d{1,9}$/.test(params.index) ? Number(params.index) : Number.NaN;
      if (process.state !== 'STARTED' || !(index < process.instances)) throw instanceNotFound();
      const running = apps.tracker.instancesOf(process.guid, process.version).filter((beat) => beat.index === index);
      for (const beat of running) apps.dispatcher.stopInstance(process, beat.instance);
      apps.dispatcher.background('replacement of an instance', async () => {
        await apps.dispatcher.startAnyway(process.guid, { version: process.version, index });
      });
      await recordProcessEvent(db, found, caller.actor, {
        what: 'terminate_instance',
        data: { process_index: index },
      });
      apps.say(found.app.guid, `Stopping app instance with index ${index} of process ${process.type}`);
      return reply.code(204).send();
    },
  );
}

function embedsInstances(query: ListQuery): boolean {
  const { embed } = query.plain;
  if (embed === undefined) return false;
  if (splitValues(embed).every((name) => name === 'process_instances')) return true;
  throw badQuery("Invalid embedded resource. Valid embedded resources are: 'process_instances'");
}

async function appOf(deps: Pick<Deps, 'db'>, process: FoundProcess): Promise<FoundApp> {
  const app = await findApp(deps.db, process.app_guid);
  if (!app) throw notFound('Process');
  return app;
}
