import type { FastifyInstance } from 'fastify';
import { stringify } from 'yaml';
import { z } from 'zod';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import { seeApp } from '../apps/policy.ts';
import { findApp } from '../apps/store.ts';
import type { Caller } from '../api/caller.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import type { JobOutcome } from '../jobs/registry.ts';
import { findSpace, type FoundSpace } from '../spaces/store.ts';
import { applyManifest } from './apply.ts';
import { type Difference, diffApp, generateManifest } from './generate.ts';
import { awaitBindings } from './services.ts';
import { parseManifest, readManifest } from './parse.ts';

type ByGuid = { Params: { guid: string } };

const Payload = z.object({
  applied: z.array(
    z.object({
      app_guid: z.string(),
      routes_changed: z.boolean(),
      scaled: z.array(z.object({ guid: z.string(), instances_before: z.number() })),
      bindings: z.array(z.object({ app: z.string(), service: z.string(), job_guid: z.string() })).default([]),
    }),
  ),
});

export function registerManifestEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, jobs, operations, apps, config } = deps;

  // All that the database decides is done in the request; the job tells the DEAs, again if its worker dies.
  operations.register(
    'space.apply_manifest',
    (payload) => Payload.parse(payload),
    async ({ applied }): Promise<JobOutcome> => {
      const waiting = await awaitBindings(
        db,
        applied.flatMap((app) => app.bindings),
      );
      if (waiting) return waiting;
      await apps.dispatcher.routesChanged(applied.flatMap((app) => (app.routes_changed ? [app.app_guid] : [])));
      for (const { guid, instances_before } of applied.flatMap((app) => app.scaled)) {
        const process = await db.selectFrom('processes').selectAll().where('guid', '=', guid).executeTakeFirst();
        if (process?.state !== 'STARTED') continue;
        const extra = Math.max(0, instances_before - process.instances);
        apps.dispatcher.stopIndices(
          process,
          Array.from({ length: extra }, (_, at) => process.instances + at),
        );
        apps.dispatcher.startMissing([guid]);
      }
      return undefined;
    },
  );

  server.get<ByGuid>('/v3/apps/:guid/manifest', async ({ params, caller }, reply) => {
    const app = await seeApp(deps, caller, params.guid);
    caller.require('app.read_secrets', app);
    const manifest = { applications: [await generateManifest(db, app)] };
    return reply.type('application/x-yaml').send(`---\n${stringify(manifest)}`);
  });

  void server.register(async (scope) => {
    scope.addContentTypeParser(
      ['application/x-yaml', 'application/yaml', 'text/yaml', 'text/x-yaml'],
      { parseAs: 'string', bodyLimit: config.limits.manifest_max_bytes },
      (_request, body, done) => done(null, String(body)),
    );

    scope.post<ByGuid>('/v3/spaces/:guid/actions/apply_manifest', async (request, reply) => {
      const { caller, params } = request;
      const space = await writableSpace(deps, caller, params.guid);
      const wanted = parseManifest(yamlOf(request.body));
      const { job, applied } = await inTransaction(db, async (trx) => {
        const done = await applyManifest(trx, wanted, { deps, caller, space });
        const guid = await jobs.enqueue(trx, {
          operation: 'space.apply_manifest',
          resource: { type: 'spaces', guid: space.guid },
          payload: { applied: done },
          user_guid: caller.guid,
        });
        return { job: guid, applied: done };
      });
      for (const { app_guid, created } of applied) {
        apps.say(app_guid, `${created ? 'Created' : 'Updated'} app with guid ${app_guid}`);
      }
      return await jobs.accept(reply, job);
    });

    scope.post<ByGuid>('/v3/spaces/:guid/manifest_diff', async (request, reply) => {
      const { caller, params } = request;
      const space = await writableSpace(deps, caller, params.guid);
      const text = yamlOf(request.body);
      parseManifest(text);
      const diff: Difference[] = [];
      for (const [at, given] of readManifest(text).applications.entries()) {
        const { name } = given as { name: unknown };
        const row = await db
          .selectFrom('apps')
          .select('guid')
          .where('space_guid', '=', space.guid)
          .where('name', '=', String(name))
          .executeTakeFirst();
        const app = row ? await findApp(db, row.guid) : undefined;
        const current = app ? await generateManifest(db, app) : undefined;
        const path = `/applications/${at}`;
        if (!app) diff.push({ op: 'add', path: `${path}/name`, value: name });
        diff.push(...diffApp(given as Record<string, unknown>, current, path));
      }
      return reply.code(201).send({ diff });
    });
  });
}

async function writableSpace({ db }: Deps, caller: Caller, guid: string): Promise<FoundSpace> {
  const space = caller.see('space.read', await findSpace(db, guid), 'Space');
  caller.require('app.create', space);
  return space;
}

/** Errors: 400 for a body that did not come as YAML. */
function yamlOf(body: unknown): string {
  if (typeof body === 'string') {
    if (body.trim() === '') throw unprocessable('Manifest is empty');
    return body;
  }
  throw new CfError('BadRequest', 'Content-Type must be yaml');
}
