import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { z } from 'zod';
import { seeApp } from '../apps/policy.ts';
import { parseBody } from '../api/body.ts';
import { type Links, presentCommon, toOne } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { parseList } from '../api/list.ts';
import type { Deps } from '../deps.ts';
import { MAX_INTEGER } from '../processes/schema.ts';
import { findProcess } from '../processes/store.ts';
import type { SidecarRow } from '../tables-apps.ts';
import { findSidecar, listSidecars, unlessTaken } from './store.ts';

type ByGuid = { Params: { guid: string } };

const ProcessTypes = z.array(z.string().min(1)).min(1, { error: 'Process types must have at least 1 process_type' });
const Sidecar = {
  name: z.string().min(1).max(255),
  command: z.string().min(1).max(4096),
  process_types: ProcessTypes,
  memory_in_mb: z.number().int().min(1).max(MAX_INTEGER).nullable(),
};
const CreateSidecar = z.strictObject({ ...Sidecar, memory_in_mb: Sidecar.memory_in_mb.optional() });
const UpdateSidecar = z.strictObject(Sidecar).partial();

export function registerSidecarEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links } = deps;
  const present = (row: SidecarRow): Record<string, unknown> => presentSidecar(row, links);

  server.get<ByGuid>('/v3/apps/:guid/sidecars', async (request) => {
    const app = await seeApp(deps, request.caller, request.params.guid);
    const query = parseList(request);
    const page = await listSidecars(db, query, { app_guid: app.guid });
    return presentPage(page, { query, links, present });
  });

  server.get<ByGuid>('/v3/processes/:guid/sidecars', async (request) => {
    const { caller, params } = request;
    const process = caller.see('app.read', await findProcess(db, params.guid), 'Process');
    const query = parseList(request);
    const page = await listSidecars(db, query, { app_guid: process.app_guid, process_type: process.type });
    return presentPage(page, { query, links, present });
  });

  server.post<ByGuid>(
    '/v3/apps/:guid/sidecars',
    { config: { body: CreateSidecar } },
    async ({ params, body, caller }, reply) => {
      const app = await seeApp(deps, caller, params.guid);
      caller.require('app.update', app);
      const wanted = parseBody(CreateSidecar, body);
      const row = await unlessTaken(wanted.name, () =>
        db
          .insertInto('sidecars')
          .values({
            guid: randomUUID(),
            app_guid: app.guid,
            name: wanted.name,
            command: wanted.command,
            process_types: JSON.stringify(wanted.process_types),
            memory_in_mb: wanted.memory_in_mb ?? null,
          })
          .returningAll()
          .executeTakeFirstOrThrow(),
      );
      return reply.code(201).send(present(row));
    },
  );

  server.get<ByGuid>('/v3/sidecars/:guid', async ({ params, caller }) =>
    present(caller.see('app.read', await findSidecar(db, params.guid), 'Sidecar')),
  );

  server.patch<ByGuid>('/v3/sidecars/:guid', { config: { body: UpdateSidecar } }, async ({ params, body, caller }) => {
    const found = caller.see('app.read', await findSidecar(db, params.guid), 'Sidecar');
    caller.require('app.update', found);
    const { name, command, process_types, memory_in_mb } = parseBody(UpdateSidecar, body);
    const row = await unlessTaken(name ?? found.name, () =>
      db
        .updateTable('sidecars')
        .set({
          ...(name !== undefined && { name }),
          ...(command !== undefined && { command }),
          ...(process_types && { process_types: JSON.stringify(process_types) }),
          ...(memory_in_mb !== undefined && { memory_in_mb }),
          updated_at: sql<Date>`now()`,
        })
        .where('guid', '=', found.guid)
        .returningAll()
        .executeTakeFirstOrThrow(),
    );
    return present(row);
  });

  server.delete<ByGuid>('/v3/sidecars/:guid', async ({ params, caller }, reply) => {
    const found = caller.see('app.read', await findSidecar(db, params.guid), 'Sidecar');
    caller.require('app.update', found);
    await db.deleteFrom('sidecars').where('guid', '=', found.guid).execute();
    return reply.code(204).send();
  });
}

function presentSidecar(row: SidecarRow, links: Links): Record<string, unknown> {
  return {
    ...presentCommon(row),
    name: row.name,
    command: row.command,
    process_types: row.process_types,
    memory_in_mb: row.memory_in_mb,
    origin: row.origin,
    relationships: { app: toOne(row.app_guid) },
    links: { app: links.to(`/v3/apps/${row.app_guid}`) },
  };
}
