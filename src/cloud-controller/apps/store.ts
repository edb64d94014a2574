import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import type { ListQuery } from '../api/list.ts';
import { isInPermittedSpace, isOneOf, isOneOfNames, type Page, selectPage } from '../api/list-store.ts';
import type { Scope } from '../api/permissions.ts';
import type { Db } from '../tables.ts';
import type { AppRow } from '../tables-apps.ts';

/** An app and where it is, as permissions and messages need it. */
export interface FoundApp extends AppRow {
  space_name: string;
  organization_guid: string;
  organization_name: string;
  organization_suspended: boolean;
  space_allow_ssh: boolean;
}

function appsWithPlace(db: Db) {
  return (
    db
      .selectFrom('apps')
      .leftJoin('spaces', 'spaces.guid', 'apps.space_guid')
      .leftJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
      .selectAll('apps')
      .select([
        'spaces.name as space_name',
        'spaces.allow_ssh as space_allow_ssh',
        'spaces.organization_guid as organization_guid',
        'organizations.name as organization_name',
        'organizations.suspended as organization_suspended',
      ])
      // Each has its place; as outer joins those that nothing asks for are left out by PostgreSQL.
      .$castTo<FoundApp>()
  );
}

export async function findApp(db: Db, guid: string): Promise<FoundApp | undefined> {
  return await appsWithPlace(db).where('apps.guid', '=', guid).executeTakeFirst();
}

/** Those of the apps that the scope shows. */
export async function appsWithin(db: Db, guids: readonly string[], scope: Scope): Promise<FoundApp[]> {
  return await appsWithPlace(db)
    .where(isOneOf('apps.guid', [...new Set(guids)]))
    .where(isInPermittedSpace(scope, 'apps.space_guid'))
    .orderBy('apps.id')
    .execute();
}

/** Locks the app's row until the transaction ends, so that starts, stops and deployments of one app take turns. */
export async function lockApp(trx: Db, guid: string): Promise<AppRow | undefined> {
  return await trx.selectFrom('apps').selectAll().where('guid', '=', guid).forUpdate().executeTakeFirst();
}

export async function listApps(db: Db, query: ListQuery, scope: Scope): Promise<Page<FoundApp>> {
  const { lifecycle_type } = query.plain;
  let statement = appsWithPlace(db).where(isInPermittedSpace(scope, 'apps.space_guid'));
  if (lifecycle_type !== undefined) {
    statement = statement.where(sql<boolean>`apps.lifecycle_type = ${lifecycle_type}`);
  }
  return await selectPage(statement, {
    query,
    table: 'apps',
    order: { name: 'apps.name', state: 'apps.state' },
    filters: {
      guids: 'apps.guid',
      names: isOneOfNames('apps.name'),
      space_guids: 'apps.space_guid',
      organization_guids: 'spaces.organization_guid',
      stacks: 'apps.stack',
    },
  });
}

export interface NewApp {
  name: string;
  space_guid: string;
  lifecycle_type: AppRow['lifecycle_type'];
  buildpacks: readonly string[];
  stack: string | null;
  environment_variables: Readonly<Record<string, string>>;
  metadata: { labels: string; annotations: string };
}

/** Errors: 422 when the name is taken in the space. */
export async function insertApp(trx: Db, app: NewApp): Promise<AppRow> {
  const { metadata, buildpacks, environment_variables, ...columns } = app;
  return await nameTaken(app.name, () =>
    trx
      .insertInto('apps')
      .values({
        ...columns,
        ...metadata,
        guid: randomUUID(),
        buildpacks: JSON.stringify(buildpacks),
        environment_variables: JSON.stringify(environment_variables),
      })
      .returningAll()
      .executeTakeFirstOrThrow(),
  );
}

export interface AppChange {
  name?: string;
  buildpacks?: string;
  stack?: string | null;
  lifecycle_type?: AppRow['lifecycle_type'];
  labels?: string;
  annotations?: string;
  environment_variables?: string;
  state?: AppRow['state'];
  droplet_guid?: string | null;
  ssh_enabled?: boolean;
  revisions_enabled?: boolean;
  service_binding_k8s_enabled?: boolean;
  file_based_vcap_services_enabled?: boolean;
}

/** Errors: 422 when the new name is taken in the space. */
export async function updateApp(trx: Db, guid: string, change: AppChange): Promise<AppRow> {
  return await nameTaken(change.name ?? '', () =>
    trx
      .updateTable('apps')
      .set({ ...change, updated_at: sql<Date>`now()` })
      .where('guid', '=', guid)
      .returningAll()
      .executeTakeFirstOrThrow(),
  );
}

async function nameTaken<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isUniqueViolation(error, 'apps_name')) throw error;
    throw unprocessable(`App with the name '${name}' already exists.`);
  }
}
