import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { toMany } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { parseList } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { findOrganization } from '../organizations/store.ts';
import { groupOf } from '../routes/router-groups.ts';
import { isReserved, removeDomainRoutes } from '../routes/store.ts';
import { presentDomain } from './presenter.ts';
import { CreateDomain, DOMAIN_LIST, ShareDomain, UpdateDomain } from './schema.ts';
import {
  deleteDomain,
  type Domain,
  domainQuota,
  findDefaultDomain,
  findDomain,
  hasRoutesIn,
  insertDomain,
  listDomains,
  shareDomain,
  unshareDomain,
  updateDomainMetadata,
} from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerDomainEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, config, operations, jobs, effects } = deps;
  const see = async (caller: Caller, guid: string): Promise<Domain> => {
    const found = await findDomain(db, guid);
    if (!found || !maySeeDomain(caller, found)) throw notFound('Domain');
    return found;
  };
  const present = (row: Domain, caller: Caller): Record<string, unknown> =>
    presentDomain(row, links, (organization_guid) => caller.may('organization.read', { organization_guid }));

  server.get('/v3/domains', { config: { list: DOMAIN_LIST } }, async (request) => {
    const query = parseList(request, DOMAIN_LIST);
    const page = await listDomains(db, query, { scope: request.caller.scope('domain.read') });
    return presentPage(page, { query, links, present: (row) => present(row, request.caller) });
  });

  server.get<ByGuid>('/v3/organizations/:guid/domains', { config: { list: DOMAIN_LIST } }, async (request) => {
    const { caller, params } = request;
    const query = parseList(request, DOMAIN_LIST);
    const organization = caller.see('organization.read', await findOrganization(db, params.guid), 'Organization');
    const page = await listDomains(db, query, {
      scope: caller.scope('domain.read'),
      organization_guid: organization.guid,
    });
    return presentPage(page, { query, links, present: (row) => present(row, caller) });
  });

  server.get<ByGuid>('/v3/organizations/:guid/domains/default', async ({ params, caller }) => {
    const organization = caller.see('organization.read', await findOrganization(db, params.guid), 'Organization');
    const found = await findDefaultDomain(db, organization.guid);
    if (!found || !maySeeDomain(caller, found)) throw notFound('Domain');
    return present(found, caller);
  });

  server.get<ByGuid>('/v3/domains/:guid', async ({ params, caller }) =>
    present(await see(caller, params.guid), caller),
  );

  server.post('/v3/domains', { config: { body: CreateDomain } }, async ({ body, caller }, reply) => {
    const wanted = parseBody(CreateDomain, body);
    const organization_guid = wanted.relationships?.organization?.data.guid ?? null;
    const shared = wanted.relationships?.shared_organizations?.data.map(({ guid }) => guid) ?? [];
    if (organization_guid === null) caller.require('domain.write_shared');
    else await requirePrivate(caller, organization_guid, wanted.name);
    const router_group = wanted.router_group && groupOf(config, wanted.router_group.guid);
    if (wanted.router_group && !router_group) {
      throw unprocessable(`Router group with guid '${wanted.router_group.guid}' not found.`);
    }
    for (const guid of shared) await requireShareable(caller, guid, organization_guid);
    const guid = await inTransaction(
      db,
      async (trx) =>
        await insertDomain(trx, {
          name: wanted.name,
          internal: wanted.internal ?? false,
          router_group_guid: router_group?.guid ?? null,
          enforce_route_policies: wanted.enforce_route_policies ?? false,
          route_policies_scope: wanted.route_policies_scope ?? null,
          organization_guid,
          shared_organization_guids: shared,
          metadata: wanted.metadata,
        }),
    );
    return reply.code(201).send(present(await see(caller, guid), caller));
  });

  const requirePrivate = async (caller: Caller, organization_guid: string, name: string): Promise<void> => {
    const organization = await findOrganization(db, organization_guid);
    if (!organization || !caller.may('organization.read', organization)) {
      throw unprocessable(
        `Organization with guid '${organization_guid}' does not exist or you do not have access to it.`,
      );
    }
    caller.require('domain.write_private', organization);
    await requireFeature(db, 'private_domain_creation', caller);
    if (name.toLowerCase() === config.system_domain.toLowerCase()) {
      throw unprocessable(`The "${name}" domain is reserved and cannot be used for org-scoped domains.`);
    }
    const { owned, allowed } = await domainQuota(db, organization_guid);
    if (allowed !== null && owned >= allowed) {
      throw unprocessable(`The number of private domains exceeds the quota for organization "${organization.name}"`);
    }
  };
  const requireShareable = async (caller: Caller, guid: string, owner_guid: string | null): Promise<void> => {
    const organization = await findOrganization(db, guid);
    if (!organization || !caller.may('organization.read', organization)) {
      throw unprocessable(`Organization with guid '${guid}' does not exist, or you do not have access to it.`);
    }
    if (!caller.may('domain.write_private', organization)) {
      throw unprocessable(
        `You do not have sufficient permissions for organization '${organization.name}' to share domain.`,
      );
    }
    if (guid === owner_guid) throw unprocessable('Domain cannot be shared with owning organization.');
  };
  const requireWrite = (caller: Caller, domain: Domain): void =>
    caller.require(domain.organization_guid === null ? 'domain.write_shared' : 'domain.write_private', {
      organization_guid: domain.organization_guid,
    });

  server.patch<ByGuid>('/v3/domains/:guid', { config: { body: UpdateDomain } }, async ({ params, body, caller }) => {
    const found = await see(caller, params.guid);
    requireWrite(caller, found);
    await updateDomainMetadata(db, found, parseBody(UpdateDomain, body).metadata);
    return present(await see(caller, params.guid), caller);
  });

  const Payload = z.object({ guid: z.string() });
  operations.register(
    'domain.delete',
    (given) => Payload.parse(given),
    async ({ guid }, context) => {
      const app_guids = await inTransaction(db, async (trx) => {
        const affected = await removeDomainRoutes(trx, guid);
        await deleteDomain(trx, guid);
        await context.complete(trx);
        return affected;
      });
      await effects.routesChanged(app_guids);
    },
  );
  server.delete<ByGuid>('/v3/domains/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    requireWrite(caller, found);
    if (found.shared_organization_guids.length > 0) {
      throw unprocessable('This domain is shared with other organizations. Unshare before deleting.');
    }
    const job_guid = await jobs.enqueue(db, {
      operation: 'domain.delete',
      resource: { type: 'domains', guid: found.guid },
      payload: { guid: found.guid },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job_guid);
  });

  const shares_path = '/v3/domains/:guid/relationships/shared_organizations';
  server.post<ByGuid>(shares_path, { config: { body: ShareDomain } }, async ({ params, body, caller }) => {
    const found = await see(caller, params.guid);
    const guids = parseBody(ShareDomain, body).data.map(({ guid }) => guid);
    if (found.organization_guid === null) {
      throw unprocessable(
        'Domains cannot be shared with other organizations unless they are scoped to an organization.',
      );
    }
    requireWrite(caller, found);
    for (const guid of guids) await requireShareable(caller, guid, found.organization_guid);
    await shareDomain(db, found.guid, guids);
    return toMany([...new Set([...found.shared_organization_guids, ...guids])]);
  });
  type Shared = { Params: { guid: string; organization_guid: string } };
  server.delete<Shared>(`${shares_path}/:organization_guid`, async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    const organization = await findOrganization(db, params.organization_guid);
    const mayUnshare = [found.organization_guid, params.organization_guid].some((organization_guid) =>
      caller.may('domain.write_private', { organization_guid }),
    );
    if (!mayUnshare) throw new CfError('NotAuthorized', 'You are not authorized to perform the requested action');
    if (!organization || !caller.may('organization.read', organization)) {
      throw unprocessable(
        `Organization with guid '${params.organization_guid}' does not exist or you do not have access to it.`,
      );
    }
    if (!found.shared_organization_guids.includes(organization.guid)) {
      throw unprocessable(
        `Unable to unshare domain from organization with name '${organization.name}'. Ensure the domain is shared to this organization.`,
      );
    }
    if (await hasRoutesIn(db, found.guid, organization.guid)) {
      throw unprocessable(
        'This domain has associated routes in this organization. Delete the routes before unsharing.',
      );
    }
    await unshareDomain(db, found.guid, organization.guid);
    return reply.code(204).send();
  });

  server.get<ByGuid>('/v3/domains/:guid/route_reservations', async (request) => {
    const query = parseList(request, { plain: ['host', 'path', 'port'], timestamps: false });
    const found = await see(request.caller, request.params.guid);
    const { host = '', path = '', port } = query.plain;
    const address = { host, path, port: port === undefined ? null : Number(port) || 0 };
    return { matching_route: await isReserved(db, found.guid, address) };
  });
}

/** Shared domains are seen by all, private ones by their organization and those that they are shared with. */
export function maySeeDomain(caller: Caller, domain: Domain): boolean {
  if (domain.organization_guid === null || caller.seesEverything) return true;
  return [domain.organization_guid, ...domain.shared_organization_guids].some((organization_guid) =>
    caller.may('domain.read', { organization_guid }),
  );
}
