import type { FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { z } from 'zod';
import { seeApp } from '../apps/policy.ts';
import { parseBody } from '../api/body.ts';
import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import { type Page, presentPage, selectPage } from '../api/list-store.ts';
import { type ListQuery, type ListSpec, parseList } from '../api/list.ts';
import { metadataColumns, MetadataUpdate } from '../api/metadata.ts';
import type { Deps } from '../deps.ts';
import type { Db } from '../tables.ts';
import type { RevisionRow } from '../tables-apps.ts';

type ByGuid = { Params: { guid: string } };

interface FoundRevision extends RevisionRow {
  space_guid: string;
  organization_guid: string;
  organization_suspended: boolean;
  /** Whether its droplet can still be run. */
  deployable: boolean;
}

const REVISION_LIST: ListSpec = { filters: ['versions'], plain: ['deployable'], labels: true };
const UpdateRevision = z.strictObject({ metadata: MetadataUpdate.optional() });

function revisions(db: Db) {
  return db
    .selectFrom('revisions')
    .innerJoin('apps', 'apps.guid', 'revisions.app_guid')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .leftJoin('droplets', 'droplets.guid', 'revisions.droplet_guid')
    .selectAll('revisions')
    .select([
      'apps.space_guid as space_guid',
      'spaces.organization_guid as organization_guid',
      'organizations.suspended as organization_suspended',
      sql<boolean>`coalesce(droplets.state = 'STAGED', false)`.as('deployable'),
    ]);
}

export async function findRevision(db: Db, guid: string): Promise<FoundRevision | undefined> {
  return await revisions(db).where('revisions.guid', '=', guid).executeTakeFirst();
}

async function listRevisions(
  db: Db,
  query: ListQuery,
  of: { app_guid: string; deployed: boolean },
): Promise<Page<FoundRevision>> {
  let statement = revisions(db).where('revisions.app_guid', '=', of.app_guid);
  if (of.deployed) {
    statement = statement.where(sql<boolean>`exists (select 1 from processes
      where processes.revision_guid = revisions.guid and processes.state = 'STARTED' and processes.instances > 0)`);
  }
  const { deployable } = query.plain;
  if (deployable !== undefined) {
    statement = statement.where(sql<boolean>`coalesce(droplets.state = 'STAGED', false) = ${deployable === 'true'}`);
  }
  const versions = (values: string[]) => sql<boolean>`revisions.version::text = any(${values}::text[])`;
  return await selectPage(statement, { query, table: 'revisions', filters: { versions } });
}

export function registerRevisionEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links } = deps;
  const present = (row: FoundRevision): Record<string, unknown> => presentRevision(row, links);

  server.get<ByGuid>('/v3/apps/:guid/revisions', { config: { list: REVISION_LIST } }, async (request) => {
    const app = await seeApp(deps, request.caller, request.params.guid);
    const query = parseList(request, REVISION_LIST);
    const page = await listRevisions(db, query, { app_guid: app.guid, deployed: false });
    return presentPage(page, { query, links, present });
  });

  server.get<ByGuid>('/v3/apps/:guid/revisions/deployed', async (request) => {
    const app = await seeApp(deps, request.caller, request.params.guid);
    const query = parseList(request, { ...REVISION_LIST, plain: [] });
    const page = await listRevisions(db, query, { app_guid: app.guid, deployed: true });
    return presentPage(page, { query, links, present });
  });

  server.get<ByGuid>('/v3/revisions/:guid', async ({ params, caller }) =>
    present(caller.see('app.read', await findRevision(db, params.guid), 'Revision')),
  );

  server.patch<ByGuid>(
    '/v3/revisions/:guid',
    { config: { body: UpdateRevision } },
    async ({ params, body, caller }) => {
      const found = caller.see('app.read', await findRevision(db, params.guid), 'Revision');
      caller.require('app.update', found);
      const { metadata } = parseBody(UpdateRevision, body);
      const columns = metadataColumns(found, metadata);
      const row = await db
        .updateTable('revisions')
        .set({ ...columns, updated_at: sql<Date>`now()` })
        .where('guid', '=', found.guid)
        .returningAll()
        .executeTakeFirstOrThrow();
      return present({ ...found, ...row });
    },
  );

  server.get<ByGuid>('/v3/revisions/:guid/environment_variables', async ({ params, caller }) => {
    const found = caller.see('app.read', await findRevision(db, params.guid), 'Revision');
    caller.require('app.read_secrets', found);
    const path = `/v3/revisions/${found.guid}`;
    return {
      var: found.environment_variables,
      links: {
        self: links.to(`${path}/environment_variables`),
        revision: links.to(path),
        app: links.to(`/v3/apps/${found.app_guid}`),
      },
    };
  });
}

function presentRevision(row: FoundRevision, links: Links): Record<string, unknown> {
  const path = `/v3/revisions/${row.guid}`;
  return {
    ...presentCommon(row),
    version: row.version,
    droplet: { guid: row.droplet_guid },
    processes: row.processes,
    sidecars: row.sidecars,
    description: row.description,
    deployable: row.deployable,
    relationships: { app: toOne(row.app_guid) },
    ...presentMetadata(row),
    links: {
      self: links.to(path),
      app: links.to(`/v3/apps/${row.app_guid}`),
      environment_variables: links.to(`${path}/environment_variables`),
    },
  };
}
