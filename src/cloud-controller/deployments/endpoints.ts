import type { FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { z } from 'zod';
import { unprocessable } from '#contracts/cf-errors.ts';
import { assignDroplet, carryOut, NOTHING, recordAppEvent } from '../apps/lifecycle.ts';
import { seeApp } from '../apps/policy.ts';
import { findApp } from '../apps/store.ts';
import { parseBody, relationships, ToOne } from '../api/body.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import { metadataColumns, MetadataUpdate } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { MAX_INTEGER } from '../processes/schema.ts';
import { createDeployment, type DeploymentWanted } from './create.ts';
import { setReason } from './driver.ts';
import { presentDeployment } from './presenter.ts';
import { findDeployment, listDeployments } from './store.ts';

type ByGuid = { Params: { guid: string } };

const DEPLOYMENT_LIST: ListSpec = {
  filters: ['app_guids', 'states', 'status_values', 'status_reasons'],
  labels: true,
};
const Guid = z.strictObject({ guid: z.string() });
const Count = z.number().int().min(1).max(MAX_INTEGER);
const CreateDeployment = z.strictObject({
  droplet: Guid.nullable().optional(),
  revision: z.strictObject({ guid: z.string(), version: z.number().optional() }).nullable().optional(),
  strategy: z
    .enum(['rolling', 'canary'], { error: "Strategy 'recreate' is not a supported deployment strategy" })
    .nullable()
    .optional(),
  options: z
    .strictObject({
      max_in_flight: z
        .number({ error: 'Max in flight must be an integer greater than 0' })
        .int({ error: 'Max in flight must be an integer greater than 0' })
        .min(1, { error: 'Max in flight must be an integer greater than 0' })
        .max(MAX_INTEGER)
        .nullable()
        .optional(),
      web_instances: Count.nullable().optional(),
      memory_in_mb: Count.nullable().optional(),
      disk_in_mb: Count.nullable().optional(),
      log_rate_limit_in_bytes_per_second: z.number().int().min(-1).nullable().optional(),
      canary: z
        .strictObject({
          steps: z.array(z.strictObject({ instance_weight: z.number().int().min(1).max(100) })).optional(),
        })
        .nullable()
        .optional(),
    })
    .nullable()
    .optional(),
  metadata: MetadataUpdate.optional(),
  relationships: relationships({ app: ToOne('App') }),
});
const UpdateDeployment = z.strictObject({ metadata: MetadataUpdate.optional() });

export function registerDeploymentEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, config, apps } = deps;

  server.get('/v3/deployments', { config: { list: DEPLOYMENT_LIST } }, async (request) => {
    const query = parseList(request, DEPLOYMENT_LIST);
    const page = await listDeployments(db, query, request.caller.scope('app.read'));
    return presentPage(page, { query, links, present: (row) => presentDeployment(row, links) });
  });

  server.get<ByGuid>('/v3/deployments/:guid', async ({ params, caller }) =>
    presentDeployment(caller.see('app.read', await findDeployment(db, params.guid), 'Deployment'), links),
  );

  server.post('/v3/deployments', { config: { body: CreateDeployment } }, async ({ body, caller }, reply) => {
    const wanted = wantedOf(parseBody(CreateDeployment, body));
    const { app_guid } = wanted;
    const app = await findApp(db, app_guid);
    if (!app || !caller.may('app.read', app)) {
      throw unprocessable('Unable to use app. Ensure that the app exists and you have access to it.');
    }
    caller.require('app.manage', app);
    const { deployment, aftermath } = await inTransaction(
      db,
      async (trx) => await createDeployment(trx, app, wanted, { config, actor: caller.actor }),
    );
    carryOut(apps, app.guid, aftermath);
    return reply.code(201).send(presentDeployment(deployment, links));
  });

  server.patch<ByGuid>(
    '/v3/deployments/:guid',
    { config: { body: UpdateDeployment } },
    async ({ params, body, caller }) => {
      const found = caller.see('app.read', await findDeployment(db, params.guid), 'Deployment');
      caller.require('app.update', found);
      const { metadata } = parseBody(UpdateDeployment, body);
      const row = await db
        .updateTable('deployments')
        .set({ ...metadataColumns(found, metadata), updated_at: sql<Date>`now()` })
        .where('guid', '=', found.guid)
        .returningAll()
        .executeTakeFirstOrThrow();
      return presentDeployment(row, links);
    },
  );

  server.post<ByGuid>('/v3/deployments/:guid/actions/cancel', async ({ params, caller }) => {
    const found = caller.see('app.read', await findDeployment(db, params.guid), 'Deployment');
    caller.require('app.manage', found);
    const app = await seeApp(deps, caller, found.app_guid);
    const aftermath = await inTransaction(db, async (trx) => {
      const row = await trx
        .selectFrom('deployments')
        .selectAll()
        .where('guid', '=', found.guid)
        .forUpdate()
        .executeTakeFirstOrThrow();
      const { status_value, status_reason } = row;
      if (status_value !== 'ACTIVE') throw unprocessable(`Cannot cancel a ${status_reason} deployment`);
      await setReason(trx, row.guid, 'CANCELING');
      await recordAppEvent(trx, app, caller.actor, { what: 'deployment.cancel', data: { deployment_guid: row.guid } });
      if (row.previous_droplet_guid === null) return NOTHING;
      const previous = await assignDroplet(trx, app, row.previous_droplet_guid, { config, actor: caller.actor });
      return previous.aftermath;
    });
    carryOut(apps, app.guid, { ...aftermath, say: `Cancelling deployment for app with guid ${app.guid}` });
    return {};
  });

  server.post<ByGuid>('/v3/deployments/:guid/actions/continue', async ({ params, caller }) => {
    const found = caller.see('app.read', await findDeployment(db, params.guid), 'Deployment');
    caller.require('app.manage', found);
    const app = await seeApp(deps, caller, found.app_guid);
    await inTransaction(db, async (trx) => {
      const row = await trx
        .selectFrom('deployments')
        .selectAll()
        .where('guid', '=', found.guid)
        .forUpdate()
        .executeTakeFirstOrThrow();
      const { status_value, status_reason, canary_step } = row;
      if (status_value !== 'ACTIVE' || status_reason !== 'PAUSED') {
        throw unprocessable(`Cannot continue a deployment with status: ${status_value} and reason: ${status_reason}`);
      }
      await trx
        .updateTable('deployments')
        .set({ canary_step: canary_step + 1 })
        .where('guid', '=', row.guid)
        .execute();
      await setReason(trx, row.guid, 'DEPLOYING');
      await recordAppEvent(trx, app, caller.actor, {
        what: 'deployment.continue',
        data: { deployment_guid: row.guid },
      });
    });
    return {};
  });
}

function wantedOf(body: z.infer<typeof CreateDeployment>): DeploymentWanted & { app_guid: string } {
  const { droplet, revision, options } = body;
  if (droplet && revision) throw unprocessable("Cannot set both fields 'droplet' and 'revision'");
  const strategy = body.strategy ?? 'rolling';
  const canary_steps = options?.canary?.steps ?? [];
  if (strategy !== 'canary' && options?.canary) {
    throw unprocessable('Options canary are only valid for Canary deployments');
  }
  const weights = canary_steps.map((step) => step.instance_weight);
  if (weights.some((weight, at) => at > 0 && weight < (weights[at - 1] ?? 0))) {
    throw unprocessable('Options canary steps instance_weight must be sorted in ascending order');
  }
  return {
    app_guid: body.relationships.app.data.guid,
    droplet_guid: droplet?.guid,
    revision_guid: revision?.guid,
    strategy,
    canary_steps,
    max_in_flight: options?.max_in_flight ?? 1,
    web_instances: options?.web_instances ?? undefined,
    memory_in_mb: options?.memory_in_mb ?? undefined,
    disk_in_mb: options?.disk_in_mb ?? undefined,
    log_rate_limit_in_bytes_per_second: options?.log_rate_limit_in_bytes_per_second ?? undefined,
    metadata: body.metadata,
  };
}
