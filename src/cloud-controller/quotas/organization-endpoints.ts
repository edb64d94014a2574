import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { toMany } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { parseList } from '../api/list.ts';
import { existingGuids, inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { notFound } from '#contracts/cf-errors.ts';
import type { Db } from '../tables.ts';
import { presentOrganizationQuota } from './presenter.ts';
import { ApplyQuota, CreateOrganizationQuota, ORGANIZATION_QUOTA_LIST, UpdateOrganizationQuota } from './schema.ts';
import {
  applyOrganizationQuota,
  deleteOrganizationQuota,
  findOrganizationQuota,
  insertOrganizationQuota,
  listOrganizationQuotas,
  type OrganizationQuota,
  updateOrganizationQuota,
} from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerOrganizationQuotaEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, jobs, operations } = deps;
  const present = (row: OrganizationQuota, caller: Caller): Record<string, unknown> =>
    presentOrganizationQuota(row, links, (organization_guid) => caller.may('organization.read', { organization_guid }));
  const see = async (caller: Caller, guid: string): Promise<OrganizationQuota> => {
    const found = await findOrganizationQuota(db, guid);
    const isVisible =
      caller.seesEverything ||
      found?.organization_guids.some((organization_guid) =>
        caller.may('organization_quota.read', { organization_guid }),
      );
    if (!found || !isVisible) throw notFound('Organization quota');
    return found;
  };

  server.get('/v3/organization_quotas', { config: { list: ORGANIZATION_QUOTA_LIST } }, async (request) => {
    const query = parseList(request, ORGANIZATION_QUOTA_LIST);
    const page = await listOrganizationQuotas(db, query, request.caller.scope('organization_quota.read'));
    return presentPage(page, { query, links, present: (row) => present(row, request.caller) });
  });

  server.get<ByGuid>('/v3/organization_quotas/:guid', async ({ params, caller }) =>
    present(await see(caller, params.guid), caller),
  );

  server.post(
    '/v3/organization_quotas',
    { config: { body: CreateOrganizationQuota } },
    async ({ body, caller }, reply) => {
      caller.require('organization_quota.write');
      const { name, relationships, ...limits } = parseBody(CreateOrganizationQuota, body);
      const organization_guids = relationships?.organizations?.data.map(({ guid }) => guid) ?? [];
      const guid = await inTransaction(db, async (trx) => {
        await requireOrganizations(trx, organization_guids);
        const created = await insertOrganizationQuota(trx, name, limits);
        await applyOrganizationQuota(trx, created, organization_guids);
        return created;
      });
      return reply.code(201).send(present(await see(caller, guid), caller));
    },
  );

  server.patch<ByGuid>(
    '/v3/organization_quotas/:guid',
    { config: { body: UpdateOrganizationQuota } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      caller.require('organization_quota.write');
      await updateOrganizationQuota(db, found, parseBody(UpdateOrganizationQuota, body));
      return present(await see(caller, found.guid), caller);
    },
  );

  server.post<ByGuid>(
    '/v3/organization_quotas/:guid/relationships/organizations',
    { config: { body: ApplyQuota } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      caller.require('organization_quota.write');
      const guids = parseBody(ApplyQuota, body).data.map(({ guid }) => guid);
      await requireOrganizations(db, guids);
      await applyOrganizationQuota(db, found.guid, guids);
      return {
        ...toMany((await see(caller, found.guid)).organization_guids),
        links: { self: links.to(`/v3/organization_quotas/${found.guid}/relationships/organizations`) },
      };
    },
  );

  const Payload = z.object({ guid: z.string() });
  operations.register(
    'organization_quota.delete',
    (given) => Payload.parse(given),
    async ({ guid }, context) => {
      await inTransaction(db, async (trx) => {
        await deleteOrganizationQuota(trx, guid);
        await context.complete(trx);
      });
    },
  );
  server.delete<ByGuid>('/v3/organization_quotas/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('organization_quota.write');
    if (found.organization_guids.length > 0) {
      throw unprocessable(
        'This quota is applied to one or more organizations. Apply different quotas to those organizations before deleting.',
      );
    }
    const job_guid = await jobs.enqueue(db, {
      operation: 'organization_quota.delete',
      resource: { type: 'organization_quotas', guid: found.guid },
      payload: { guid: found.guid },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job_guid);
  });
}

async function requireOrganizations(db: Db, guids: readonly string[]): Promise<void> {
  const known = await existingGuids(db, 'organizations', guids);
  const missing = guids.filter((guid) => !known.has(guid));
  if (missing.length === 0) return;
  throw unprocessable(
    `Organizations with guids ${JSON.stringify(missing)} do not exist, or you do not have access to them.`,
  );
}
