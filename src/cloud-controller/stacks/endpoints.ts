import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import { type Links, presentCommon, presentMetadata } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';
import { presentApp } from '../apps/presenter.ts';
import { listApps } from '../apps/store.ts';
import type { Deps } from '../deps.ts';
import { deleteStack, findStack, insertStack, listStacks, type Stack, updateStack } from './store.ts';

const STATES = ['ACTIVE', 'RESTRICTED', 'DEPRECATED', 'DISABLED'] as const;
const FIELDS = {
  description: z.string().max(250).nullable().optional(),
  state: z.enum(STATES, { error: `State must be one of ${STATES.join(', ')}` }).optional(),
  state_reason: z.string().max(1000).nullable().optional(),
  metadata: MetadataUpdate.optional(),
};
const CreateStack = z.strictObject({ name: z.string().min(1).max(250), ...FIELDS });
const UpdateStack = z.strictObject(FIELDS);

const STACK_APP_LIST: ListSpec = {
  filters: ['names', 'guids', 'organization_guids', 'space_guids'],
  order: ['name'],
  labels: true,
};
type ByGuid = { Params: { guid: string } };

const STACK_LIST: ListSpec = { filters: ['names'], plain: ['default'], order: ['name'], labels: true };

export function registerStackEndpoints(server: FastifyInstance, { db, links, config }: Deps): void {
  const see = async (guid: string): Promise<Stack> => {
    const found = await findStack(db, guid);
    if (!found) throw notFound('Stack');
    return found;
  };

  server.get('/v3/stacks', { config: { list: STACK_LIST } }, async (request) => {
    const query = parseList(request, STACK_LIST);
    const page = await listStacks(
      db,
      query,
      query.plain['default'] === 'true' ? { name: config.default_stack } : undefined,
    );
    return presentPage(page, { query, links, present: (row) => presentStack(row, config.default_stack, links) });
  });

  server.get<ByGuid>('/v3/stacks/:guid', async ({ params }) =>
    presentStack(await see(params.guid), config.default_stack, links),
  );

  server.get<ByGuid>('/v3/stacks/:guid/apps', { config: { list: STACK_APP_LIST } }, async (request) => {
    const stack = await see(request.params.guid);
    const query = parseList(request, STACK_APP_LIST);
    const on_stack = { ...query, filters: { ...query.filters, stacks: [stack.name] } };
    const page = await listApps(db, on_stack, request.caller.scope('app.read'));
    return presentPage(page, { query, links, present: (row) => presentApp(row, links) });
  });

  server.post('/v3/stacks', { config: { body: CreateStack } }, async ({ body, caller }, reply) => {
    caller.require('platform.write');
    const created = await insertStack(db, parseBody(CreateStack, body));
    return reply.code(201).send(presentStack(created, config.default_stack, links));
  });

  server.patch<ByGuid>('/v3/stacks/:guid', { config: { body: UpdateStack } }, async ({ params, body, caller }) => {
    const found = await see(params.guid);
    caller.require('platform.write');
    return presentStack(await updateStack(db, found, parseBody(UpdateStack, body)), config.default_stack, links);
  });

  server.delete<ByGuid>('/v3/stacks/:guid', async ({ params, caller }, reply) => {
    const found = await see(params.guid);
    caller.require('platform.write');
    await deleteStack(db, found);
    return reply.code(204).send();
  });
}

function presentStack(row: Stack, default_stack: string, links: Links): Record<string, unknown> {
  return {
    ...presentCommon(row),
    name: row.name,
    description: row.description,
    state: row.state,
    state_reason: row.state_reason,
    default: row.name === default_stack,
    build_rootfs_image: row.name,
    run_rootfs_image: row.name,
    ...presentMetadata(row),
    links: { self: links.to(`/v3/stacks/${row.guid}`) },
  };
}
