import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { Name, parseBody, ToMany } from '../api/body.ts';
import { type Links, presentCommon, presentMetadata, toMany } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';
import { existingGuids } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { presentOrganization } from '../organizations/presenter.ts';
import { ORGANIZATION_LIST } from '../organizations/schema.ts';
import { listOrganizations } from '../organizations/store.ts';
import {
  deleteIsolationSegment,
  entitle,
  entitledGuids,
  findIsolationSegment,
  insertIsolationSegment,
  type IsolationSegment,
  isUsedBy,
  listIsolationSegments,
  revoke,
  SHARED_SEGMENT,
  spacesIn,
  updateIsolationSegment,
} from './store.ts';

const CreateIsolationSegment = z.strictObject({ name: Name, metadata: MetadataUpdate.optional() });
const UpdateIsolationSegment = z.strictObject({ name: Name.optional(), metadata: MetadataUpdate.optional() });
type ByGuid = { Params: { guid: string } };

const ISOLATION_SEGMENT_LIST: ListSpec = {
  filters: ['guids', 'names', 'organization_guids'],
  order: ['name'],
  labels: true,
};

export function registerIsolationSegmentEndpoints(server: FastifyInstance, { db, links }: Deps): void {
  const see = async (caller: Caller, guid: string): Promise<IsolationSegment> => {
    const found = await findIsolationSegment(db, guid, caller.scope('isolation_segment.read'));
    if (!found) throw notFound('Isolation segment');
    return found;
  };

  server.get('/v3/isolation_segments', { config: { list: ISOLATION_SEGMENT_LIST } }, async (request) => {
    const query = parseList(request, ISOLATION_SEGMENT_LIST);
    const page = await listIsolationSegments(db, query, request.caller.scope('isolation_segment.read'));
    return presentPage(page, { query, links, present: (row) => presentIsolationSegment(row, links) });
  });

  server.get<ByGuid>('/v3/isolation_segments/:guid', async ({ params, caller }) =>
    presentIsolationSegment(await see(caller, params.guid), links),
  );

  server.post(
    '/v3/isolation_segments',
    { config: { body: CreateIsolationSegment } },
    async ({ body, caller }, reply) => {
      caller.require('isolation_segment.write');
      const created = await insertIsolationSegment(db, parseBody(CreateIsolationSegment, body));
      return reply.code(201).send(presentIsolationSegment(created, links));
    },
  );

  server.patch<ByGuid>(
    '/v3/isolation_segments/:guid',
    { config: { body: UpdateIsolationSegment } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      caller.require('isolation_segment.write');
      const wanted = parseBody(UpdateIsolationSegment, body);
      if (wanted.name !== undefined && wanted.name !== found.name) requireNotShared(found, 'update');
      return presentIsolationSegment(await updateIsolationSegment(db, found, wanted), links);
    },
  );

  server.delete<ByGuid>('/v3/isolation_segments/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('isolation_segment.write');
    requireNotShared(found, 'delete');
    await deleteIsolationSegment(db, found.guid);
    return reply.code(204).send();
  });

  server.get<ByGuid>(
    '/v3/isolation_segments/:guid/organizations',
    { config: { list: ORGANIZATION_LIST } },
    async (request) => {
      const { params, caller } = request;
      const found = await see(caller, params.guid);
      const query = parseList(request, ORGANIZATION_LIST);
      const scope = caller.scope('organization.read');
      const page = await listOrganizations(db, query, { scope, isolation_segment_guid: found.guid });
      return presentPage(page, { query, links, present: (row) => presentOrganization(row, links) });
    },
  );

  const organizations_path = '/v3/isolation_segments/:guid/relationships/organizations';
  const presentOrganizations = async (segment: IsolationSegment, caller: Caller): Promise<Record<string, unknown>> => {
    const path = `/v3/isolation_segments/${segment.guid}`;
    const guids = (await entitledGuids(db, segment.guid)).filter((organization_guid) =>
      caller.may('organization.read', { organization_guid }),
    );
    return {
      ...toMany(guids),
      links: { self: links.to(`${path}/relationships/organizations`), related: links.to(`${path}/organizations`) },
    };
  };
  server.get<ByGuid>(organizations_path, async ({ params, caller }) =>
    presentOrganizations(await see(caller, params.guid), caller),
  );
  server.post<ByGuid>(organizations_path, { config: { body: ToMany } }, async ({ params, body, caller }) => {
    const found = await see(caller, params.guid);
    caller.require('isolation_segment.write');
    const guids = parseBody(ToMany, body).data.map(({ guid }) => guid);
    const known = await existingGuids(db, 'organizations', guids);
    const missing = guids.filter((guid) => !known.has(guid));
    if (missing.length > 0) {
      throw unprocessable(
        `Unable to entitle organizations [${missing.map((guid) => `'${guid}'`).join(', ')}] for isolation segment '${found.name}'. Ensure the organizations exist`,
      );
    }
    await entitle(db, found.guid, guids);
    return await presentOrganizations(found, caller);
  });
  type Entitled = { Params: { guid: string; organization_guid: string } };
  server.delete<Entitled>(`${organizations_path}/:organization_guid`, async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('isolation_segment.write');
    const { organization_guid } = params;
    if (!(await existingGuids(db, 'organizations', [organization_guid])).has(organization_guid)) {
      throw notFound('Organization');
    }
    if (await isUsedBy(db, found.guid, organization_guid)) {
      throw unprocessable(
        `Cannot revoke entitlement of Isolation Segment ${found.name}: it is the organization's default, or spaces of the organization use it.`,
      );
    }
    await revoke(db, found.guid, organization_guid);
    return reply.code(204).send();
  });

  server.get<ByGuid>('/v3/isolation_segments/:guid/relationships/spaces', async ({ params, caller }) => {
    const found = await see(caller, params.guid);
    const spaces = (await spacesIn(db, found.guid)).filter(({ guid, organization_guid }) =>
      caller.may('space.read', { space_guid: guid, organization_guid }),
    );
    return {
      ...toMany(spaces.map(({ guid }) => guid)),
      links: { self: links.to(`/v3/isolation_segments/${found.guid}/relationships/spaces`) },
    };
  });
}

function requireNotShared(segment: IsolationSegment, what: 'update' | 'delete'): void {
  if (segment.guid === SHARED_SEGMENT.guid) throw unprocessable(`Cannot ${what} the ${segment.name} Isolation Segment`);
}

function presentIsolationSegment(row: IsolationSegment, links: Links): Record<string, unknown> {
  const path = `/v3/isolation_segments/${row.guid}`;
  return {
    ...presentCommon(row),
    name: row.name,
    ...presentMetadata(row),
    links: { self: links.to(path), organizations: links.to(`${path}/organizations`) },
  };
}
