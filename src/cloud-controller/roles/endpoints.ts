import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListQuery, parseList, parseShow } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { ActorSchema, recordAuditEvent } from '../events.ts';
import { presentOrganization } from '../organizations/presenter.ts';
import { organizationsByGuid } from '../organizations/store.ts';
import { presentSpace } from '../spaces/presenter.ts';
import { spacesByGuid } from '../spaces/store.ts';
import type { RoleRow } from '../tables.ts';
import { presentUser } from '../users/presenter.ts';
import { findUser, nameUsers, usersByGuid } from '../users/store.ts';
import { giveRole } from './give.ts';
import { presentRole } from './presenter.ts';
import { CreateRole, ROLE_LIST } from './schema.ts';
import { deleteRole, findRole, hasSpaceRoleIn, listRoles, type PlacedRole } from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerRoleEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, jobs, operations } = deps;
  const include = async (query: ListQuery, rows: RoleRow[]): Promise<Record<string, unknown[]> | undefined> => {
    if (query.include.size === 0) return undefined;
    const included: Record<string, unknown[]> = {};
    const guids = (column: 'user_guid' | 'space_guid' | 'organization_guid'): string[] =>
      rows.map((row) => row[column]).filter((guid) => guid !== null);
    if (query.include.has('user')) {
      const users = await nameUsers(deps, await usersByGuid(db, guids('user_guid')));
      included['users'] = users.map((row) => presentUser(row, links));
    }
    if (query.include.has('space')) {
      included['spaces'] = (await spacesByGuid(db, guids('space_guid'))).map((row) => presentSpace(row, links));
    }
    if (query.include.has('organization')) {
      const organizations = await organizationsByGuid(db, guids('organization_guid'));
      included['organizations'] = organizations.map((row) => presentOrganization(row, links));
    }
    return included;
  };

  server.get('/v3/roles', { config: { list: ROLE_LIST } }, async (request) => {
    const query = parseList(request, ROLE_LIST);
    const page = await listRoles(db, query, request.caller);
    const included = await include(query, page.rows);
    return presentPage(page, { query, links, present: (row) => presentRole(row, links), included });
  });

  server.get<ByGuid>('/v3/roles/:guid', async (request) => {
    const query = parseShow(request, { include: ROLE_LIST.include ?? [] });
    const found = see(request.caller, await findRole(db, request.params.guid));
    const included = await include(query, [found]);
    return { ...presentRole(found, links), ...(included && { included }) };
  });

  server.post('/v3/roles', { config: { body: CreateRole } }, async ({ body, caller }, reply) => {
    const wanted = parseBody(CreateRole, body);
    return reply.code(201).send(presentRole(await giveRole(deps, caller, wanted), links));
  });

  const Payload = z.object({ guid: z.string(), actor: ActorSchema });
  operations.register(
    'role.delete',
    (given) => Payload.parse(given),
    async ({ guid, actor }, context) => {
      const role = await findRole(db, guid);
      if (!role) return;
      const user = await findUser(db, role.user_guid);
      await inTransaction(db, async (trx) => {
        await deleteRole(trx, guid);
        await recordAuditEvent(trx, {
          type: `audit.user.${role.type}_remove`,
          actor,
          target: { guid: role.user_guid, type: 'user', name: user?.username ?? '' },
          space_guid: role.space_guid,
          organization_guid: role.place.organization_guid,
        });
        await context.complete(trx);
      });
    },
  );
  server.delete<ByGuid>('/v3/roles/:guid', async ({ params, caller }, reply) => {
    const found = see(caller, await findRole(db, params.guid));
    caller.require(found.space_guid === null ? 'role.write_in_organization' : 'role.write_in_space', found.place);
    if (
      found.type === 'organization_user' &&
      (await hasSpaceRoleIn(db, found.user_guid, found.place.organization_guid))
    ) {
      throw unprocessable('Cannot delete organization_user role while user has roles in spaces in that organization.');
    }
    const job_guid = await jobs.enqueue(db, {
      operation: 'role.delete',
      resource: { type: 'roles', guid: found.guid },
      payload: { guid: found.guid, actor: caller.actor },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job_guid);
  });
}

function see(caller: Caller, found: PlacedRole | undefined): PlacedRole {
  const permission = found?.space_guid === null ? 'role.read_in_organization' : 'role.read_in_space';
  caller.see(permission, found?.place, 'Role');
  // `see` refuses what is not there.
  return found as PlacedRole;
}
