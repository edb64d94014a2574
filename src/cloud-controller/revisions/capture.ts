import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Db } from '../tables.ts';
import type { AppRow, DropletRow, RevisionRow } from '../tables-apps.ts';

type Content = Pick<RevisionRow, 'droplet_guid' | 'environment_variables' | 'processes' | 'sidecars'>;

/**
 * The app's newest revision, made anew when droplet, environment, commands or sidecars differ from those of the last one.
 * Undefined when the app keeps none. `rollback_to` is the version of the revision that is gone back to.
 */
export async function captureRevision(
  trx: Db,
  app: AppRow,
  options: { droplet: DropletRow; keep: number; rollback_to?: number },
): Promise<RevisionRow | undefined> {
  if (!app.revisions_enabled) return undefined;
  const [last, content] = await Promise.all([latestRevision(trx, app.guid), contentOf(trx, app, options.droplet)]);
  const changes = last ? describeChanges(last, content) : ['Initial revision.'];
  if (last && changes.length === 0) return last;
  const text = options.rollback_to === undefined ? '' : ` Rolled back to revision ${options.rollback_to}.`;
  const made = await trx
    .insertInto('revisions')
    .values({
      guid: randomUUID(),
      app_guid: app.guid,
      version: (last?.version ?? 0) + 1,
      droplet_guid: content.droplet_guid,
      environment_variables: JSON.stringify(content.environment_variables),
      processes: JSON.stringify(content.processes),
      sidecars: JSON.stringify(content.sidecars),
      description: `${changes.join(' ')}${text}`.trim(),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  await trx
    .deleteFrom('revisions')
    .where('app_guid', '=', app.guid)
    .where('version', '<=', made.version - options.keep)
    .execute();
  return made;
}

export async function latestRevision(db: Db, app_guid: string): Promise<RevisionRow | undefined> {
  return await db
    .selectFrom('revisions')
    .selectAll()
    .where('app_guid', '=', app_guid)
    .orderBy('version', 'desc')
    .executeTakeFirst();
}

async function contentOf(db: Db, app: AppRow, droplet: DropletRow): Promise<Content> {
  const [processes, sidecars] = await Promise.all([
    db.selectFrom('processes').select(['type', 'command']).where('app_guid', '=', app.guid).orderBy('id').execute(),
    db
      .selectFrom('sidecars')
      .select(['name', 'command', 'process_types', 'memory_in_mb'])
      .where('app_guid', '=', app.guid)
      .orderBy('id')
      .execute(),
  ]);
  const detected = Object.keys(droplet.process_types ?? {}).map((type) => [type, { command: null }] as const);
  const own = processes.map(({ type, command }) => [type, { command }] as const);
  return {
    droplet_guid: droplet.guid,
    environment_variables: app.environment_variables,
    processes: Object.fromEntries([...detected, ...own]),
    sidecars,
  };
}

function describeChanges(last: Content, now: Content): string[] {
  const changes: string[] = [];
  if (last.droplet_guid !== now.droplet_guid) changes.push('New droplet deployed.');
  if (!isDeepStrictEqual(last.environment_variables, now.environment_variables)) {
    changes.push('New environment variables deployed.');
  }
  for (const [type, { command }] of Object.entries(now.processes)) {
    const before = last.processes[type]?.command ?? null;
    if (command === before) continue;
    if (before === null) changes.push(`Custom start command added for '${type}' process.`);
    else if (command === null) changes.push(`Custom start command removed for '${type}' process.`);
    else changes.push(`Custom start command updated for '${type}' process.`);
  }
  const names = (content: Content): Map<string, unknown> =>
    new Map(content.sidecars.map((sidecar) => [sidecar.name, sidecar]));
  const [before, after] = [names(last), names(now)];
  for (const [name, sidecar] of after) {
    if (!before.has(name)) changes.push(`Sidecar '${name}' added.`);
    else if (!isDeepStrictEqual(before.get(name), sidecar)) changes.push(`Sidecar '${name}' updated.`);
  }
  for (const name of before.keys()) if (!after.has(name)) changes.push(`Sidecar '${name}' removed.`);
  return changes;
}
