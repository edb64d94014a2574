import { randomUUID } from 'node:crypto';
import { type Selectable, sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import { type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import { NOW } from '../api/statement-store.ts';
import { findStackNamed } from '../stacks/store.ts';
import type { Buildpacks, Db, Trx } from '../tables.ts';
import { reorder } from './positions.ts';

export type Buildpack = Selectable<Buildpacks>;

export async function findBuildpack(db: Db, guid: string): Promise<Buildpack | undefined> {
  return await db.selectFrom('buildpacks').selectAll().where('guid', '=', guid).executeTakeFirst();
}

/** In their order, unless another is asked for: the lifecycle `buildpack`, save where another is. */
export async function listBuildpacks(db: Db, query: ListQuery): Promise<Page<Buildpack>> {
  const lifecycle = query.plain['lifecycle'] ?? 'buildpack';
  const ordered: ListQuery = query.order_by ? query : { ...query, order_by: { column: 'position', direction: 'asc' } };
  return await selectPage(db.selectFrom('buildpacks').selectAll().where('lifecycle', '=', lifecycle), {
    query: ordered,
    table: 'buildpacks',
    filters: { names: 'buildpacks.name', stacks: 'buildpacks.stack' },
  });
}

export interface BuildpackFields {
  name?: string | undefined;
  stack?: string | null | undefined;
  position?: number | undefined;
  enabled?: boolean | undefined;
  locked?: boolean | undefined;
  metadata?: MetadataUpdate | undefined;
}

/** Errors: 422 when name and stack are taken, or the stack is not there. */
export async function insertBuildpack(
  trx: Trx,
  wanted: BuildpackFields & { name: string; lifecycle?: string | undefined },
): Promise<Buildpack> {
  const { name, stack = null, lifecycle = 'buildpack' } = wanted;
  await requireStack(trx, stack);
  const guid = randomUUID();
  const positions = await lockOrder(trx, lifecycle);
  await asUnique({ name, stack, lifecycle }, async () => {
    await trx
      .insertInto('buildpacks')
      .values({
        guid,
        name,
        stack,
        lifecycle,
        position: positions.length + 1,
        enabled: wanted.enabled ?? true,
        locked: wanted.locked ?? false,
        filename: null,
        checksum: null,
        ...metadataColumns(undefined, wanted.metadata),
      })
      .execute();
  });
  await writeOrder(trx, reorder(positions, guid, wanted.position ?? 1));
  return await reread(trx, guid);
}

/** Errors: 422 when name and stack are taken, or the stack cannot be changed. */
export async function updateBuildpack(trx: Trx, buildpack: Buildpack, wanted: BuildpackFields): Promise<Buildpack> {
  const { guid, lifecycle } = buildpack;
  const name = wanted.name ?? buildpack.name;
  const stack = wanted.stack === undefined ? buildpack.stack : wanted.stack;
  if (wanted.stack !== undefined && wanted.stack !== buildpack.stack) {
    if (buildpack.stack !== null) throw unprocessable('Buildpack stack cannot be changed once it is set');
    await requireStack(trx, stack);
  }
  await asUnique({ name, stack, lifecycle }, async () => {
    await trx
      .updateTable('buildpacks')
      .set({
        name,
        stack,
        enabled: wanted.enabled ?? buildpack.enabled,
        locked: wanted.locked ?? buildpack.locked,
        ...metadataColumns(buildpack, wanted.metadata),
        updated_at: NOW,
      })
      .where('guid', '=', guid)
      .execute();
  });
  if (wanted.position !== undefined) {
    await writeOrder(trx, reorder(await lockOrder(trx, lifecycle), guid, wanted.position));
  }
  return await reread(trx, guid);
}

/** New bits are there, under the key of their checksum. */
export async function setBuildpackBits(
  db: Db,
  guid: string,
  bits: { filename: string; checksum: string },
): Promise<void> {
  await db
    .updateTable('buildpacks')
    .set({ ...bits, state: 'READY', updated_at: NOW })
    .where('guid', '=', guid)
    .execute();
}

export async function deleteBuildpack(trx: Trx, buildpack: Pick<Buildpack, 'guid' | 'lifecycle'>): Promise<void> {
  const order = await lockOrder(trx, buildpack.lifecycle);
  await trx.deleteFrom('buildpacks').where('guid', '=', buildpack.guid).execute();
  await writeOrder(trx, reorder(order, buildpack.guid, undefined));
}

/** One that an operator or the configuration names. */
export async function findBuildpackNamed(
  db: Db,
  wanted: { name: string; stack: string | null },
): Promise<Buildpack | undefined> {
  return await db
    .selectFrom('buildpacks')
    .selectAll()
    .where('name', '=', wanted.name)
    .where('lifecycle', '=', 'buildpack')
    .where(sql<boolean>`stack is not distinct from ${wanted.stack}`)
    .executeTakeFirst();
}

/** The guids in their order; nobody else changes it until the transaction ends. */
async function lockOrder(trx: Trx, lifecycle: string): Promise<string[]> {
  await sql`select pg_advisory_xact_lock(hashtext('buildpacks'))`.execute(trx);
  const rows = await trx
    .selectFrom('buildpacks')
    .select('guid')
    .where('lifecycle', '=', lifecycle)
    .orderBy('position')
    .orderBy('id')
    .execute();
  return rows.map((row) => row.guid);
}

async function writeOrder(trx: Trx, guids: readonly string[]): Promise<void> {
  await sql`
    update buildpacks set position = wanted.position
    from unnest(${[...guids]}::text[]) with ordinality as wanted (guid, position)
    where buildpacks.guid = wanted.guid and buildpacks.position <> wanted.position`.execute(trx);
}

async function reread(trx: Trx, guid: string): Promise<Buildpack> {
  return await trx.selectFrom('buildpacks').selectAll().where('guid', '=', guid).executeTakeFirstOrThrow();
}

async function requireStack(db: Db, stack: string | null): Promise<void> {
  if (stack !== null && !(await findStackNamed(db, stack))) throw unprocessable(`Stack '${stack}' does not exist`);
}

async function asUnique(
  { name, stack, lifecycle }: { name: string; stack: string | null; lifecycle: string },
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isUniqueViolation(error, 'buildpacks_name')) throw error;
    throw unprocessable(
      stack === null
        ? `Buildpack with name '${name}' and an unassigned stack already exists`
        : `Buildpack with name '${name}', stack '${stack}' and lifecycle '${lifecycle}' already exists`,
    );
  }
}
