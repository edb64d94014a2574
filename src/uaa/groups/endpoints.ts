import type { FastifyInstance, FastifyReply } from 'fastify';
import { z } from 'zod';
import { madeBy, requireToken } from '../edge/access.ts';
import { queryOf } from '../edge/form.ts';
import { parseBody } from '../edge/uaa-errors.ts';
import { UaaError } from '../errors.ts';
import { parseListRequest, presentList, SCHEMA, versionOf } from '../scim/list-request.ts';
import type { Group, GroupMember } from '../tables.ts';
import type { Uaa } from '../uaa.ts';
import { groupNotFound, type NewMember } from './store.ts';

const text = z
  .string()
  .max(255)
  .refine((value) => !value.includes('\0'), 'has a null character');
const Member = z.looseObject({
  value: text.min(1),
  type: z.enum(['USER', 'GROUP']).default('USER'),
  origin: text.default('uaa'),
  operation: z.string().optional(),
});
const GroupBody = z.looseObject({
  displayName: text.refine((name) => name.trim() !== '', 'is blank').optional(),
  description: z.string().max(1000).nullish(),
  members: z.array(Member).max(100_000).nullish(),
  meta: z.looseObject({ attributes: z.array(z.string()).optional() }).nullish(),
});
type Member = z.infer<typeof Member>;

interface ById {
  Params: { id: string };
}
interface ByMember {
  Params: { id: string; member_id: string };
}

export function groupEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { groups, guard, audit } = uaa;

  server.get('/Groups', async (request) => {
    await requireToken(request, guard, 'scim.read');
    const list = parseListRequest(queryOf(request));
    const page = await groups.list(list.page);
    const wantsMembers = list.attributes === undefined || list.attributes.some((name) => /^members/i.test(name));
    const members = await groups.members(wantsMembers ? page.rows.map((group) => group.id) : []);
    return presentList(
      page,
      list,
      page.rows.map((group) => presentGroup(group, members.get(group.id) ?? [])),
    );
  });

  server.get<ById>('/Groups/:id', async (request, reply) => {
    await requireToken(request, guard, 'scim.read');
    return await show(uaa, reply, await see(uaa, request.params.id));
  });

  server.post('/Groups', async (request, reply) => {
    await requireToken(request, guard, 'scim.write');
    const body = parseBody(GroupBody, request.body, 'invalid_scim_resource');
    const display_name = nameOf(body.displayName);
    const members = (body.members ?? []).map(memberOf);
    for (const member of members) await groups.assertMember('', member);
    const created = await groups.create({ display_name, description: body.description ?? '' });
    await groups.setMembers(created.id, members);
    audit.record({ event: 'group_created', ...madeBy(request), data: { id: created.id, display_name } });
    reply.code(201);
    return await show(uaa, reply, created);
  });

  server.put<ById>('/Groups/:id', async (request, reply) => {
    await requireToken(request, guard, 'scim.write', 'groups.update');
    const { id } = request.params;
    const version = versionOf(request.headers['if-match'], 'PUT');
    const body = parseBody(GroupBody, request.body, 'invalid_scim_resource');
    const display_name = nameOf(body.displayName);
    const members = (body.members ?? []).map(memberOf);
    for (const member of members) await groups.assertMember(id, member);
    const updated = await groups.update(id, { display_name, description: body.description ?? '' }, version);
    await groups.setMembers(id, members);
    audit.record({ event: 'group_modified', ...madeBy(request), data: { id } });
    return await show(uaa, reply, updated);
  });

  server.patch<ById>('/Groups/:id', async (request, reply) => {
    await requireToken(request, guard, 'scim.write', 'groups.update');
    const { id } = request.params;
    const version = versionOf(request.headers['if-match'], 'PATCH');
    const body = parseBody(GroupBody, request.body, 'invalid_scim_resource');
    const dropped = new Set((body.meta?.attributes ?? []).map((name) => name.toLowerCase()));
    const given = body.members ?? [];
    const isRemoved = (member: Member): boolean => member.operation?.toLowerCase() === 'delete';
    for (const member of given) if (!isRemoved(member)) await groups.assertMember(id, memberOf(member));
    const updated = await groups.update(
      id,
      {
        ...(body.displayName !== undefined && { display_name: nameOf(body.displayName) }),
        ...((body.description != null || dropped.has('description')) && { description: body.description ?? '' }),
      },
      version,
    );
    const kept = new Map<string, NewMember>();
    if (!dropped.has('members')) {
      const before = (await groups.members([id])).get(id) ?? [];
      for (const { member_id, type, origin } of before) kept.set(member_id, { member_id, type, origin });
    }
    for (const member of given) {
      if (isRemoved(member)) kept.delete(member.value);
      else kept.set(member.value, memberOf(member));
    }
    await groups.setMembers(id, [...kept.values()]);
    audit.record({ event: 'group_modified', ...madeBy(request), data: { id } });
    return await show(uaa, reply, updated);
  });

  server.delete<ById>('/Groups/:id', async (request) => {
    await requireToken(request, guard, 'scim.write');
    const { id } = request.params;
    const version = versionOf(request.headers['if-match'], 'DELETE');
    const before = await see(uaa, id);
    if (version !== undefined && version !== before.version) {
      throw new UaaError('scim_version_mismatch', `The group has version ${before.version}, not ${version}`);
    }
    const members = (await groups.members([id])).get(id) ?? [];
    if (!(await groups.delete(id))) throw groupNotFound(id);
    audit.record({
      event: 'group_deleted',
      ...madeBy(request),
      data: { id, display_name: before.display_name },
    });
    return presentGroup(before, members);
  });

  memberEndpoints(server, uaa);
}

function memberEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { groups, guard, audit } = uaa;

  server.get<ById>('/Groups/:id/members', async (request) => {
    await requireToken(request, guard, 'scim.read');
    await see(uaa, request.params.id);
    const members = await groups.members([request.params.id]);
    return (members.get(request.params.id) ?? []).map(presentMember);
  });

  server.get<ByMember>('/Groups/:id/members/:member_id', async (request) => {
    await requireToken(request, guard, 'scim.read');
    const { id, member_id } = request.params;
    await see(uaa, id);
    const member = (await groups.members([id])).get(id)?.find((candidate) => candidate.member_id === member_id);
    if (!member) throw memberNotFound(member_id, id);
    return presentMember(member);
  });

  server.post<ById>('/Groups/:id/members', async (request, reply) => {
    await requireToken(request, guard, 'scim.write', 'groups.update');
    const { id } = request.params;
    const member = memberOf(parseBody(Member, request.body, 'invalid_scim_resource'));
    const added = await groups.addMember(id, member);
    audit.record({ event: 'group_modified', ...madeBy(request), data: { id, added: member.member_id } });
    reply.code(201);
    return presentMember(added);
  });

  server.delete<ByMember>('/Groups/:id/members/:member_id', async (request) => {
    await requireToken(request, guard, 'scim.write', 'groups.update');
    const { id, member_id } = request.params;
    const removed = await groups.removeMember(id, member_id);
    if (!removed) throw memberNotFound(member_id, id);
    audit.record({ event: 'group_modified', ...madeBy(request), data: { id, removed: member_id } });
    return presentMember(removed);
  });
}

async function show({ groups }: Pick<Uaa, 'groups'>, reply: FastifyReply, group: Group): Promise<object> {
  reply.header('ETag', `"${group.version}"`);
  return presentGroup(group, (await groups.members([group.id])).get(group.id) ?? []);
}

async function see({ groups }: Pick<Uaa, 'groups'>, id: string): Promise<Group> {
  const group = await groups.find(id);
  if (!group) throw groupNotFound(id);
  return group;
}

const memberNotFound = (member_id: string, id: string): UaaError =>
  new UaaError('scim_resource_not_found', `Member ${member_id} does not exist in group ${id}`);

function nameOf(name: string | undefined): string {
  if (name === undefined) throw new UaaError('invalid_scim_resource', 'displayName: a group needs one');
  return name;
}

const memberOf = ({ value, type, origin }: Member): NewMember => ({ member_id: value, type, origin });

const presentMember = ({ member_id, type, origin }: GroupMember): object => ({ value: member_id, type, origin });

function presentGroup(group: Group, members: readonly GroupMember[]): object {
  return {
    id: group.id,
    meta: {
      version: group.version,
      created: group.created_at.toISOString(),
      lastModified: group.updated_at.toISOString(),
    },
    displayName: group.display_name,
    description: group.description,
    zoneId: 'uaa',
    members: members.map(presentMember),
    schemas: [SCHEMA],
  };
}
