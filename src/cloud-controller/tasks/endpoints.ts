import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { z } from 'zod';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import { recordAppEvent } from '../apps/lifecycle.ts';
import { seeApp } from '../apps/policy.ts';
import { checkQuota } from '../apps/quota.ts';
import type { FoundApp } from '../apps/store.ts';
import { parseBody } from '../api/body.ts';
import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import { metadataColumns, MetadataUpdate } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { MAX_INTEGER } from '../processes/schema.ts';
import { findProcess } from '../processes/store.ts';
import type { TaskRow } from '../tables-apps.ts';
import { recordTaskUsage } from './complete.ts';
import { cancelTask, findTask, listTasks } from './store.ts';

type ByGuid = { Params: { guid: string } };

const TASK_LIST: ListSpec = {
  filters: ['guids', 'names', 'states', 'app_guids', 'space_guids', 'organization_guids'],
  labels: true,
};
const Megabytes = z.number().int().min(1).max(MAX_INTEGER);
const CreateTask = z.strictObject({
  name: z.string().min(1).max(255).optional(),
  command: z.string().min(1).max(4096).nullable().optional(),
  user: z.literal('vcap', { error: "User must be 'vcap'" }).optional(),
  memory_in_mb: Megabytes.nullable().optional(),
  disk_in_mb: Megabytes.nullable().optional(),
  log_rate_limit_in_bytes_per_second: z.number().int().min(-1).nullable().optional(),
  droplet_guid: z.string().nullable().optional(),
  template: z.strictObject({ process: z.strictObject({ guid: z.string() }) }).optional(),
  metadata: MetadataUpdate.optional(),
});
type CreateTask = z.infer<typeof CreateTask>;
const UpdateTask = z.strictObject({ metadata: MetadataUpdate.optional() });

export function registerTaskEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, apps } = deps;

  server.get('/v3/tasks', { config: { list: TASK_LIST } }, async (request) => {
    const query = parseList(request, TASK_LIST);
    const page = await listTasks(db, query, { scope: request.caller.scope('app.read') });
    return presentPage(page, { query, links, present: (row) => presentTask(row, links, false) });
  });

  server.get<ByGuid>('/v3/apps/:guid/tasks', async (request) => {
    const app = await seeApp(deps, request.caller, request.params.guid);
    const query = parseList(request, { ...TASK_LIST, filters: ['guids', 'names', 'states', 'sequence_ids'] });
    const page = await listTasks(db, query, { scope: { everywhere: true }, app_guid: app.guid });
    const withSecrets = request.caller.may('app.read_secrets', app);
    return presentPage(page, { query, links, present: (row) => presentTask(row, links, withSecrets) });
  });

  server.get<ByGuid>('/v3/tasks/:guid', async ({ params, caller }) => {
    const found = caller.see('app.read', await findTask(db, params.guid), 'Task');
    return presentTask(found, links, caller.may('app.read_secrets', found));
  });

  server.patch<ByGuid>('/v3/tasks/:guid', { config: { body: UpdateTask } }, async ({ params, body, caller }) => {
    const found = caller.see('app.read', await findTask(db, params.guid), 'Task');
    caller.require('app.update', found);
    const { metadata } = parseBody(UpdateTask, body);
    const row = await db
      .updateTable('tasks')
      .set({ ...metadataColumns(found, metadata), updated_at: sql<Date>`now()` })
      .where('guid', '=', found.guid)
      .returningAll()
      .executeTakeFirstOrThrow();
    return presentTask(row, links, true);
  });

  server.post<ByGuid>(
    '/v3/apps/:guid/tasks',
    { config: { body: CreateTask } },
    async ({ params, body, caller }, reply) => {
      const app = await seeApp(deps, caller, params.guid);
      caller.require('task.create', app);
      const wanted = parseBody(CreateTask, body);
      await requireFeature(db, 'task_creation', caller);
      const task = await inTransaction(db, async (trx) => {
        const row = await insertTask(trx, deps, { app, wanted });
        await recordTaskUsage(trx, row, 'TASK_STARTED');
        await recordAppEvent(trx, app, caller.actor, { what: 'task.create', data: { task_guid: row.guid } });
        return row;
      });
      apps.tasks.wake();
      return reply.code(202).send(presentTask(task, links, true));
    },
  );

  for (const [method, path] of [
    ['PUT', '/v3/tasks/:guid/cancel'],
    ['POST', '/v3/tasks/:guid/actions/cancel'],
  ] as const) {
    server.route<ByGuid>({
      method,
      url: path,
      handler: async ({ params, caller }, reply) => {
        const found = caller.see('app.read', await findTask(db, params.guid), 'Task');
        caller.require('task.cancel', found);
        const cancelled = await cancelTask(db, found.guid);
        if (!cancelled) {
          throw unprocessable(`Task state is ${found.state} and therefore cannot be canceled`);
        }
        const app = await seeApp(deps, caller, found.app_guid);
        await recordAppEvent(db, app, caller.actor, { what: 'task.cancel', data: { task_guid: found.guid } });
        await apps.tasks.cancel(cancelled);
        return reply.code(202).send(presentTask(cancelled, links, caller.may('app.read_secrets', found)));
      },
    });
  }
}

async function insertTask(
  trx: Parameters<Parameters<typeof inTransaction>[1]>[0],
  { config }: Deps,
  { app, wanted }: { app: FoundApp; wanted: CreateTask },
): Promise<TaskRow> {
  const template = wanted.template ? await findProcess(trx, wanted.template.process.guid) : undefined;
  if (wanted.template && template?.app_guid !== app.guid)
    throw unprocessable('Template process must be of the same app');
  const droplet_guid = wanted.droplet_guid ?? app.droplet_guid;
  const droplet =
    droplet_guid === null
      ? undefined
      : await trx.selectFrom('droplets').selectAll().where('guid', '=', droplet_guid).executeTakeFirst();
  if (!droplet || droplet.app_guid !== app.guid || droplet.state !== 'STAGED') {
    throw unprocessable('Task must have a droplet. Specify droplet or assign current droplet to app.');
  }
  const command = wanted.command ?? template?.command ?? (template && droplet.process_types?.[template.type]) ?? null;
  if (command === null || command === '') throw unprocessable("Command can't be blank");
  const { defaults } = config;
  const memory_in_mb = wanted.memory_in_mb ?? template?.memory_in_mb ?? defaults.task_memory_mb;
  const log_rate =
    wanted.log_rate_limit_in_bytes_per_second ??
    template?.log_rate_limit_in_bytes_per_second ??
    defaults.app_log_rate_limit_bytes_per_second;
  await checkTaskQuota(trx, app, { memory_in_mb, log_rate });
  const { next_task_sequence_id } = await trx
    .updateTable('apps')
    .set({ next_task_sequence_id: sql<number>`next_task_sequence_id + 1` })
    .where('guid', '=', app.guid)
    .returning('next_task_sequence_id')
    .executeTakeFirstOrThrow();
  return await trx
    .insertInto('tasks')
    .values({
      guid: randomUUID(),
      app_guid: app.guid,
      sequence_id: next_task_sequence_id - 1,
      name: wanted.name ?? randomUUID().slice(0, 8),
      command,
      memory_in_mb,
      disk_in_mb: wanted.disk_in_mb ?? template?.disk_in_mb ?? defaults.task_disk_mb,
      log_rate_limit_in_bytes_per_second: log_rate,
      failure_reason: null,
      droplet_guid: droplet.guid,
      environment_variables: JSON.stringify(app.environment_variables),
      dea: null,
      leased_until: null,
      ...metadataColumns(undefined, wanted.metadata),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** A task holds memory as one more instance does; how many an app may run at once is a limit of its own. */
async function checkTaskQuota(
  trx: Parameters<typeof checkQuota>[0],
  app: FoundApp,
  need: { memory_in_mb: number; log_rate: number },
): Promise<void> {
  const { memory_in_mb, log_rate: log_rate_limit_in_bytes_per_second } = need;
  const processes = [
    { guid: '', memory_in_mb, instances: 1, log_rate_limit_in_bytes_per_second, state: 'STARTED' as const },
  ];
  await checkQuota(trx, app, { processes, starting: false, countsInstances: false });
  const { rows } = await sql<{ running: number; allowed: number | null }>`
    select (select count(*) from tasks where app_guid = ${app.guid} and state in ('PENDING', 'RUNNING', 'CANCELING'))
      as running, least(o.per_app_tasks, s.per_app_tasks) as allowed
    from organizations org join organization_quotas o on o.guid = org.quota_guid
    join spaces sp on sp.organization_guid = org.guid left join space_quotas s on s.guid = sp.quota_guid
    where sp.guid = ${app.space_guid}`.execute(trx);
  const [held] = rows;
  if (held && held.allowed !== null && held.allowed >= 0 && held.running >= held.allowed) {
    throw new CfError('UnprocessableEntity', 'app_task_limit_exceeded');
  }
}

function presentTask(task: TaskRow, links: Links, withSecrets: boolean): Record<string, unknown> {
  const path = `/v3/tasks/${task.guid}`;
  return {
    ...presentCommon(task),
    sequence_id: task.sequence_id,
    name: task.name,
    ...(withSecrets && { command: task.command }),
    user: task.user ?? 'vcap',
    state: task.state,
    memory_in_mb: task.memory_in_mb,
    disk_in_mb: task.disk_in_mb,
    log_rate_limit_in_bytes_per_second: task.log_rate_limit_in_bytes_per_second,
    result: { failure_reason: task.failure_reason },
    droplet_guid: task.droplet_guid,
    relationships: { app: toOne(task.app_guid) },
    ...presentMetadata(task),
    links: {
      self: links.to(path),
      app: links.to(`/v3/apps/${task.app_guid}`),
      cancel: links.with(`${path}/actions/cancel`, 'POST'),
      droplet: links.to(`/v3/droplets/${task.droplet_guid ?? ''}`),
    },
  };
}
