import type { FastifyInstance } from 'fastify';
import { unprocessable } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import { presentPage } from '../api/list-store.ts';
import { parseList } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { recordAuditEvent } from '../events.ts';
import { findFeatureFlag } from '../feature-flags/store.ts';
import { insertRole } from '../roles/store.ts';
import { listUsers, USER_LIST } from '../users/store.ts';
import { presentUserPage } from '../users/presenter.ts';
import { registerOrganizationDelete } from './delete.ts';
import { presentOrganization } from './presenter.ts';
import { CreateOrganization, ORGANIZATION_LIST, SetIsolationSegment, UpdateOrganization } from './schema.ts';
import {
  countUsage,
  findOrganization,
  insertOrganization,
  isEntitled,
  listOrganizations,
  setDefaultIsolationSegment,
  spaceGuidsOf,
  updateOrganization,
} from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerOrganizationEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, effects } = deps;
  const delete_organization = registerOrganizationDelete(deps);

  server.get('/v3/organizations', { config: { list: ORGANIZATION_LIST } }, async (request) => {
    const query = parseList(request, ORGANIZATION_LIST);
    const page = await listOrganizations(db, query, { scope: request.caller.scope('organization.read') });
    return presentPage(page, { query, links, present: (row) => presentOrganization(row, links) });
  });

  server.get<ByGuid>('/v3/organizations/:guid', async ({ params, caller }) => {
    const found = caller.see('organization.read', await findOrganization(db, params.guid), 'Organization');
    return presentOrganization(found, links);
  });

  server.post('/v3/organizations', { config: { body: CreateOrganization } }, async ({ body, caller }, reply) => {
    const mayCreate = caller.may('organization.create') || (await findFeatureFlag(db, 'user_org_creation')).enabled;
    if (!mayCreate) caller.require('organization.create');
    const wanted = parseBody(CreateOrganization, body);
    const created = await inTransaction(db, async (trx) => {
      const organization = await insertOrganization(trx, wanted);
      // Who is no admin could not use what was just made without a role in it.
      if (!caller.isAdmin) {
        for (const type of ['organization_user', 'organization_manager'] as const) {
          await insertRole(trx, { type, user_guid: caller.guid, organization_guid: organization.guid });
        }
      }
      await recordAuditEvent(trx, {
        type: 'audit.organization.create',
        actor: caller.actor,
        target: { guid: organization.guid, type: 'organization', name: organization.name },
        data: { request: wanted },
        organization_guid: organization.guid,
      });
      return organization;
    });
    return reply.code(201).send(presentOrganization(created, links));
  });

  server.patch<ByGuid>(
    '/v3/organizations/:guid',
    { config: { body: UpdateOrganization } },
    async ({ params, body, caller }) => {
      const found = caller.see('organization.read', await findOrganization(db, params.guid), 'Organization');
      const wanted = parseBody(UpdateOrganization, body);
      caller.require(wanted.suspended === undefined ? 'organization.update' : 'organization.suspend', found);
      const updated = await inTransaction(db, async (trx) => {
        const organization = await updateOrganization(trx, found, wanted);
        await recordAuditEvent(trx, {
          type: 'audit.organization.update',
          actor: caller.actor,
          target: { guid: organization.guid, type: 'organization', name: organization.name },
          data: { request: wanted },
          organization_guid: organization.guid,
        });
        return organization;
      });
      return presentOrganization(updated, links);
    },
  );

  server.delete<ByGuid>('/v3/organizations/:guid', async ({ params, caller }, reply) => {
    const found = caller.see('organization.read', await findOrganization(db, params.guid), 'Organization');
    caller.require('organization.delete', found);
    return await delete_organization(found, caller, reply);
  });

  server.get<ByGuid>('/v3/organizations/:guid/users', { config: { list: USER_LIST } }, async (request) => {
    const { params, caller } = request;
    caller.see('organization.read', await findOrganization(db, params.guid), 'Organization');
    const query = parseList(request, USER_LIST);
    const page = await listUsers(db, query, { organization_guid: params.guid });
    return await presentUserPage(page, query, deps);
  });

  server.get<ByGuid>('/v3/organizations/:guid/usage_summary', async ({ params, caller }) => {
    const found = caller.see('organization.read', await findOrganization(db, params.guid), 'Organization');
    const space_guids = await spaceGuidsOf(db, found.guid);
    const usage = await countUsage(db, { space_guids, organization_guid: found.guid });
    const path = `/v3/organizations/${found.guid}`;
    return {
      usage_summary: { ...(await effects.usageOf(space_guids)), ...usage },
      links: { self: links.to(`${path}/usage_summary`), organization: links.to(path) },
    };
  });

  const presentSegment = (guid: string, segment_guid: string | null): Record<string, unknown> => ({
    data: segment_guid === null ? null : { guid: segment_guid },
    links: {
      self: links.to(`/v3/organizations/${guid}/relationships/default_isolation_segment`),
      ...(segment_guid !== null && { related: links.to(`/v3/isolation_segments/${segment_guid}`) }),
    },
  });
  const segment_path = '/v3/organizations/:guid/relationships/default_isolation_segment';

  server.get<ByGuid>(segment_path, async ({ params, caller }) => {
    const found = caller.see('organization.read', await findOrganization(db, params.guid), 'Organization');
    return presentSegment(found.guid, found.default_isolation_segment_guid);
  });

  server.patch<ByGuid>(segment_path, { config: { body: SetIsolationSegment } }, async ({ params, body, caller }) => {
    const found = caller.see('organization.read', await findOrganization(db, params.guid), 'Organization');
    caller.require('organization.update', found);
    const segment_guid = parseBody(SetIsolationSegment, body).data?.guid ?? null;
    if (segment_guid !== null && !(await isEntitled(db, found.guid, segment_guid))) {
      throw unprocessable(
        `Unable to assign isolation segment with guid '${segment_guid}'. Ensure it has been entitled to the organization.`,
      );
    }
    await setDefaultIsolationSegment(db, found.guid, segment_guid);
    return presentSegment(found.guid, segment_guid);
  });
}
