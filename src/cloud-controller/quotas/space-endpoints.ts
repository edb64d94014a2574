import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { toMany } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { parseList } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { findOrganization } from '../organizations/store.ts';
import { findSpace, spacesByGuid } from '../spaces/store.ts';
import { presentSpaceQuota } from './presenter.ts';
import { ApplyQuota, CreateSpaceQuota, SPACE_QUOTA_LIST, UpdateSpaceQuota } from './schema.ts';
import {
  applySpaceQuota,
  deleteSpaceQuota,
  findSpaceQuota,
  insertSpaceQuota,
  listSpaceQuotas,
  type SpaceQuota,
  updateSpaceQuota,
} from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerSpaceQuotaEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, jobs, operations } = deps;
  const present = (row: SpaceQuota, caller: Caller): Record<string, unknown> =>
    presentSpaceQuota(row, links, (space_guid) => maySeeSpace(caller, row, space_guid));
  /** Those who may change it, and those of the spaces that have it. */
  const see = async (caller: Caller, guid: string): Promise<SpaceQuota> => {
    const found = await findSpaceQuota(db, guid);
    const isVisible =
      found &&
      (caller.seesEverything ||
        caller.may('space_quota.write', found) ||
        found.space_guids.some((space_guid) => caller.may('space_quota.read', { space_guid })));
    if (!found || !isVisible) throw notFound('Space quota');
    return found;
  };

  server.get('/v3/space_quotas', { config: { list: SPACE_QUOTA_LIST } }, async (request) => {
    const query = parseList(request, SPACE_QUOTA_LIST);
    const page = await listSpaceQuotas(db, query, request.caller.scope('space_quota.read'));
    return presentPage(page, { query, links, present: (row) => present(row, request.caller) });
  });

  server.get<ByGuid>('/v3/space_quotas/:guid', async ({ params, caller }) =>
    present(await see(caller, params.guid), caller),
  );

  server.post('/v3/space_quotas', { config: { body: CreateSpaceQuota } }, async ({ body, caller }, reply) => {
    const { name, relationships, ...limits } = parseBody(CreateSpaceQuota, body);
    const organization = await findOrganization(db, relationships.organization.data.guid);
    if (!organization || !caller.may('organization.read', organization)) {
      throw unprocessable(
        `Organization with guid '${relationships.organization.data.guid}' does not exist, or you do not have access to it.`,
      );
    }
    caller.require('space_quota.write', organization);
    const space_guids = relationships.spaces?.data.map(({ guid }) => guid) ?? [];
    await requireSpaces(space_guids, organization.guid);
    const guid = await inTransaction(db, async (trx) => {
      const created = await insertSpaceQuota(trx, { name, organization_guid: organization.guid }, limits);
      await applySpaceQuota(trx, created, space_guids);
      return created;
    });
    return reply.code(201).send(present(await see(caller, guid), caller));
  });

  server.patch<ByGuid>(
    '/v3/space_quotas/:guid',
    { config: { body: UpdateSpaceQuota } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      caller.require('space_quota.write', found);
      await updateSpaceQuota(db, found, parseBody(UpdateSpaceQuota, body));
      return present(await see(caller, found.guid), caller);
    },
  );

  const spaces_path = '/v3/space_quotas/:guid/relationships/spaces';
  server.post<ByGuid>(spaces_path, { config: { body: ApplyQuota } }, async ({ params, body, caller }) => {
    const found = await see(caller, params.guid);
    caller.require('space_quota.write', found);
    const guids = parseBody(ApplyQuota, body).data.map(({ guid }) => guid);
    await requireSpaces(guids, found.organization_guid);
    await applySpaceQuota(db, found.guid, guids);
    const applied = await see(caller, found.guid);
    return {
      ...toMany(applied.space_guids.filter((space_guid) => maySeeSpace(caller, applied, space_guid))),
      links: { self: links.to(`/v3/space_quotas/${found.guid}/relationships/spaces`) },
    };
  });
  type Applied = { Params: { guid: string; space_guid: string } };
  server.delete<Applied>(`${spaces_path}/:space_guid`, async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    const space = await findSpace(db, params.space_guid);
    if (!space || !caller.may('space.read', space)) {
      throw unprocessable(`Space with guid '${params.space_guid}' does not exist, or you do not have access to it.`);
    }
    caller.require('space_quota.write', found);
    if (!found.space_guids.includes(space.guid)) {
      throw unprocessable(
        `Unable to remove quota from space with guid '${space.guid}'. Ensure the space quota is applied to this space.`,
      );
    }
    await applySpaceQuota(db, null, [space.guid]);
    return reply.code(204).send();
  });

  const Payload = z.object({ guid: z.string() });
  operations.register(
    'space_quota.delete',
    (given) => Payload.parse(given),
    async ({ guid }, context) => {
      await inTransaction(db, async (trx) => {
        await deleteSpaceQuota(trx, guid);
        await context.complete(trx);
      });
    },
  );
  server.delete<ByGuid>('/v3/space_quotas/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('space_quota.write', found);
    const job_guid = await jobs.enqueue(db, {
      operation: 'space_quota.delete',
      resource: { type: 'space_quotas', guid: found.guid },
      payload: { guid: found.guid },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job_guid);
  });

  const requireSpaces = async (guids: readonly string[], organization_guid: string): Promise<void> => {
    const spaces = new Map((await spacesByGuid(db, guids)).map((space) => [space.guid, space]));
    const missing = guids.filter((guid) => spaces.get(guid)?.organization_guid !== organization_guid);
    if (missing.length === 0) return;
    throw unprocessable(
      `Spaces with guids ${JSON.stringify(missing)} do not exist within the organization specified, or you do not have access to them.`,
    );
  };
}

function maySeeSpace(caller: Caller, quota: SpaceQuota, space_guid: string): boolean {
  return caller.may('space.read', { organization_guid: quota.organization_guid, space_guid });
}
