import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { Name, parseBody, relationships, ToMany } from '../api/body.ts';
import { type Links, presentCommon, toMany } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { findSpace, spacesByGuid } from '../spaces/store.ts';
import { Rules } from './rules.ts';
import {
  bindSecurityGroup,
  type BoundSpace,
  deleteSecurityGroup,
  findSecurityGroup,
  insertSecurityGroup,
  listSecurityGroups,
  type Phase,
  type SecurityGroup,
  unbindSecurityGroup,
  updateSecurityGroup,
} from './store.ts';

const FIELDS = {
  rules: Rules.optional(),
  globally_enabled: z.strictObject({ running: z.boolean().optional(), staging: z.boolean().optional() }).optional(),
};
const CreateSecurityGroup = z.strictObject({
  name: Name,
  ...FIELDS,
  relationships: relationships({ running_spaces: ToMany.optional(), staging_spaces: ToMany.optional() }).optional(),
});
const UpdateSecurityGroup = z.strictObject({ name: Name.optional(), ...FIELDS });

const LIST: ListSpec = {
  filters: ['guids', 'names', 'running_space_guids', 'staging_space_guids'],
  plain: ['globally_enabled_running', 'globally_enabled_staging'],
};
type ByGuid = { Params: { guid: string } };

export function registerSecurityGroupEndpoints(server: FastifyInstance, { db, links, jobs, operations }: Deps): void {
  const see = async (caller: Caller, guid: string): Promise<SecurityGroup> => {
    const found = await findSecurityGroup(db, guid, caller.scope('space.read'));
    if (!found) throw notFound('Security group');
    return found;
  };

  server.get('/v3/security_groups', { config: { list: LIST } }, async (request) => {
    const { caller } = request;
    const query = parseList(request, LIST);
    const page = await listSecurityGroups(db, query, { scope: caller.scope('space.read') });
    return presentPage(page, { query, links, present: (row) => presentSecurityGroup(row, links, caller) });
  });

  server.get<ByGuid>('/v3/security_groups/:guid', async ({ params, caller }) =>
    presentSecurityGroup(await see(caller, params.guid), links, caller),
  );

  server.post('/v3/security_groups', { config: { body: CreateSecurityGroup } }, async ({ body, caller }, reply) => {
    caller.require('security_group.write');
    const { relationships, ...fields } = parseBody(CreateSecurityGroup, body);
    const guidsOf = (many: { data: { guid: string }[] } | undefined): string[] =>
      many?.data.map(({ guid }) => guid) ?? [];
    const running = guidsOf(relationships?.running_spaces);
    const staging = guidsOf(relationships?.staging_spaces);
    await visibleSpaces(caller, [...running, ...staging]);
    const guid = await inTransaction(db, async (trx) => {
      const created = await insertSecurityGroup(trx, fields);
      await bindSecurityGroup(trx, created, 'running', running);
      await bindSecurityGroup(trx, created, 'staging', staging);
      return created;
    });
    return reply.code(201).send(presentSecurityGroup(await see(caller, guid), links, caller));
  });

  server.patch<ByGuid>(
    '/v3/security_groups/:guid',
    { config: { body: UpdateSecurityGroup } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      caller.require('security_group.write');
      await updateSecurityGroup(db, found, parseBody(UpdateSecurityGroup, body));
      return presentSecurityGroup(await see(caller, found.guid), links, caller);
    },
  );

  const Payload = z.object({ guid: z.string() });
  operations.register(
    'security_group.delete',
    (given) => Payload.parse(given),
    async ({ guid }, context) => {
      await inTransaction(db, async (trx) => {
        await deleteSecurityGroup(trx, guid);
        await context.complete(trx);
      });
    },
  );
  server.delete<ByGuid>('/v3/security_groups/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('security_group.write');
    const job_guid = await jobs.enqueue(db, {
      operation: 'security_group.delete',
      resource: { type: 'security_groups', guid: found.guid },
      payload: { guid: found.guid },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job_guid);
  });

  for (const phase of ['running', 'staging'] as const) registerBinding(phase);

  function registerBinding(phase: Phase): void {
    const path = `/v3/security_groups/:guid/relationships/${phase}_spaces`;
    server.post<ByGuid>(path, { config: { body: ToMany } }, async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      const guids = parseBody(ToMany, body).data.map(({ guid }) => guid);
      for (const space of await visibleSpaces(caller, guids)) caller.require('security_group.bind', space);
      await bindSecurityGroup(db, found.guid, phase, guids);
      const bound = await see(caller, found.guid);
      return {
        ...presentSpaces(phase === 'running' ? bound.running_spaces : bound.staging_spaces, caller),
        links: { self: links.to(`/v3/security_groups/${found.guid}/relationships/${phase}_spaces`) },
      };
    });

    type Bound = { Params: { guid: string; space_guid: string } };
    server.delete<Bound>(`${path}/:space_guid`, async ({ params, caller }, reply) => {
      const found = await see(caller, params.guid);
      const bound = phase === 'running' ? found.running_spaces : found.staging_spaces;
      const space = await findSpace(db, params.space_guid);
      const isBound = bound.some(({ guid }) => guid === params.space_guid);
      if (!space || !caller.may('space.read', space) || !isBound) {
        throw unprocessable(
          `Unable to unbind security group from space with guid '${params.space_guid}'. Ensure the space is bound to this security group.`,
        );
      }
      caller.require('security_group.bind', space);
      await unbindSecurityGroup(db, found.guid, phase, space.guid);
      return reply.code(204).send();
    });

    server.get<ByGuid>(`/v3/spaces/:guid/${phase}_security_groups`, async (request) => {
      const { params, caller } = request;
      const space = caller.see('space.read', await findSpace(db, params.guid), 'Space');
      const query = parseList(request, { filters: ['guids', 'names'] });
      const page = await listSecurityGroups(db, query, { applying: { phase, space_guid: space.guid } });
      return presentPage(page, { query, links, present: (row) => presentSecurityGroup(row, links, caller) });
    });
  }

  const visibleSpaces = async (caller: Caller, guids: readonly string[]): ReturnType<typeof spacesByGuid> => {
    const spaces = (await spacesByGuid(db, guids)).filter((space) => caller.may('space.read', space));
    const known = new Set(spaces.map(({ guid }) => guid));
    const missing = guids.filter((guid) => !known.has(guid));
    if (missing.length > 0) {
      throw unprocessable(
        `Spaces with guids ${JSON.stringify(missing)} do not exist, or you do not have access to them.`,
      );
    }
    return spaces;
  };
}

function presentSpaces(spaces: readonly BoundSpace[], caller: Caller): { data: { guid: string }[] } {
  const readable = spaces.filter(({ guid, organization_guid }) =>
    caller.may('space.read', { space_guid: guid, organization_guid }),
  );
  return toMany(readable.map(({ guid }) => guid));
}

function presentSecurityGroup(row: SecurityGroup, links: Links, caller: Caller): Record<string, unknown> {
  return {
    ...presentCommon(row),
    name: row.name,
    rules: row.rules,
    globally_enabled: { running: row.running_default, staging: row.staging_default },
    relationships: {
      running_spaces: presentSpaces(row.running_spaces, caller),
      staging_spaces: presentSpaces(row.staging_spaces, caller),
    },
    links: { self: links.to(`/v3/security_groups/${row.guid}`) },
  };
}
