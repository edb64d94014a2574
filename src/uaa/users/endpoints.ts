import type { FastifyInstance, FastifyReply } from 'fastify';
import { hasScope, madeBy, requireToken } from '../edge/access.ts';
import { queryOf } from '../edge/form.ts';
import { parseBody } from '../edge/uaa-errors.ts';
import { badCredentials, UaaError } from '../errors.ts';
import { hashPassword, verifyPassword } from '../passwords/hash.ts';
import { passwordFault } from '../passwords/policy.ts';
import { parseListRequest, presentList, versionOf } from '../scim/list-request.ts';
import type { Filter } from '../scim/filter.ts';
import type { User } from '../tables.ts';
import type { HeldToken } from '../tokens/token-guard.ts';
import type { Uaa } from '../uaa.ts';
import { changeOf, newUserOf } from './change.ts';
import { presentUser } from './presenter.ts';
import { PasswordChangeBody, ScimUserBody, UserStatusBody } from './schema.ts';
import { userNotFound } from './store.ts';

interface ById {
  Params: { id: string };
}

export function userEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { users, guard, audit } = uaa;

  server.get('/Users', async (request) => {
    await requireToken(request, guard, 'scim.read');
    const list = parseListRequest(queryOf(request));
    const page = await users.list(list.page);
    const groups = await users.groups(page.rows.map((user) => user.id));
    return presentList(
      page,
      list,
      page.rows.map((user) => presentUser(user, groups.get(user.id) ?? [])),
    );
  });

  // Names to ids and back for resource servers, who may see no more.
  server.get('/ids/Users', async (request) => {
    await requireToken(request, guard, 'scim.userids', 'scim.read');
    const list = parseListRequest(queryOf(request));
    if (!list.page.filter) throw new UaaError('scim', 'A filter is needed');
    assertIdFilter(list.page.filter);
    const page = await users.list(list.page);
    return presentList(
      page,
      list,
      page.rows.map(({ id, user_name, origin }) => ({ id, userName: user_name, origin })),
    );
  });

  server.get<ById>('/Users/:id', async (request, reply) => {
    const held = await requireToken(request, guard);
    if (!isOwn(held, request.params.id)) requireScope(held, 'scim.read');
    return await show(uaa, reply, await see(uaa, request.params.id));
  });

  server.post('/Users', async (request, reply) => {
    await requireToken(request, guard, 'scim.write', 'scim.create');
    const body = parseBody(ScimUserBody, request.body, 'invalid_scim_resource');
    const user = newUserOf(body);
    const password = body.password ?? '';
    if (user.origin === 'uaa') assertPassword(uaa, password);
    const password_hash = user.origin === 'uaa' ? await hashPassword(password) : null;
    const created = await users.create({ ...user, password_hash });
    audit.record({ event: 'user_created', user_id: created.id, origin: created.origin, ...madeBy(request) });
    reply.code(201);
    return await show(uaa, reply, created);
  });

  for (const method of ['PUT', 'PATCH'] as const) {
    server.route<ById>({
      method,
      url: '/Users/:id',
      handler: async (request, reply) => {
        const held = await requireToken(request, guard);
        const { id } = request.params;
        const isMine = isOwn(held, id) && !hasScope(held, 'scim.write');
        if (!isMine) requireScope(held, 'scim.write');
        const version = versionOf(request.headers['if-match'], method);
        const body = parseBody(ScimUserBody, request.body, 'invalid_scim_resource');
        const before = await see(uaa, id);
        const change = changeOf(body, before, method);
        if (isMine) assertMayChangeSelf(before, change);
        const updated = await users.update(id, change, version);
        if (before.active && !updated.active) await uaa.revocations.revokeUser(id);
        audit.record({ event: 'user_modified', user_id: id, origin: updated.origin, ...madeBy(request) });
        return await show(uaa, reply, updated);
      },
    });
  }

  server.delete<ById>('/Users/:id', async (request) => {
    await requireToken(request, guard, 'scim.write');
    const { id } = request.params;
    const version = versionOf(request.headers['if-match'], 'DELETE');
    const before = await see(uaa, id);
    if (version !== undefined && version !== before.version) {
      throw new UaaError('scim_version_mismatch', `The user has version ${before.version}, not ${version}`);
    }
    const groups = (await users.groups([id])).get(id) ?? [];
    const deleted = await users.delete(id);
    if (!deleted) throw userNotFound(id);
    await uaa.revocations.tellUser(id);
    audit.record({ event: 'user_deleted', user_id: id, origin: deleted.origin, ...madeBy(request) });
    return presentUser(deleted, groups);
  });

  statusEndpoint(server, uaa);

  server.put<ById>('/Users/:id/password', async (request) => {
    const held = await requireToken(request, guard);
    const { id } = request.params;
    const { oldPassword, password } = parseBody(PasswordChangeBody, request.body, 'invalid_request');
    const user = await see(uaa, id);
    if (user.origin !== 'uaa') throw new UaaError('invalid_request', "This user's password is kept elsewhere");
    if (held.claims.user_id === id) {
      requireScope(held, 'password.write');
      const { remote_address, client_id } = { remote_address: request.ip, client_id: held.client.client_id };
      const proof = { username: user.user_name, password: oldPassword ?? '', origin: 'uaa', remote_address, client_id };
      const proven = await uaa.authenticator.authenticate(proof);
      if (proven.id !== id) throw badCredentials();
    } else {
      requireScope(held, 'uaa.admin', 'scim.write');
    }
    assertPassword(uaa, password);
    if (await verifyPassword(password, user.password_hash)) {
      throw new UaaError('invalid_password', 'Your new password cannot be the same as the old password.');
    }
    await uaa.authenticator.setPassword(user, password, madeBy(request));
    await uaa.revocations.tellUser(id);
    return { status: 'ok', message: 'password updated' };
  });
}

function statusEndpoint(server: FastifyInstance, uaa: Uaa): void {
  server.patch<ById>('/Users/:id/status', async (request) => {
    requireScope(await requireToken(request, uaa.guard), 'uaa.admin', 'scim.write');
    const status = parseBody(UserStatusBody, request.body, 'invalid_scim_resource');
    const user = await see(uaa, request.params.id);
    await uaa.authenticator.unlock(user);
    const { id: user_id, origin } = user;
    uaa.audit.record({ event: 'user_unlocked', user_id, origin, ...madeBy(request) });
    return status;
  });
}

async function show(uaa: Uaa, reply: FastifyReply, user: User): Promise<object> {
  reply.header('ETag', `"${user.version}"`);
  const groups = await uaa.users.groups([user.id]);
  return presentUser(user, groups.get(user.id) ?? []);
}

async function see(uaa: Uaa, id: string): Promise<User> {
  const user = await uaa.users.find(id);
  if (!user) throw userNotFound(id);
  return user;
}

const isOwn = (held: HeldToken, id: string): boolean =>
  held.claims.user_id === id && held.claims.scope.some((scope) => scope === 'scim.me' || scope === 'openid');

function requireScope(held: HeldToken, ...scopes: string[]): void {
  if (hasScope(held, ...scopes)) return;
  throw new UaaError(
    'insufficient_scope',
    `Insufficient scope for this resource: one of ${scopes.join(', ')} is needed`,
  );
}

function assertPassword(uaa: Uaa, password: string): void {
  if (password === '') throw new UaaError('invalid_password', 'A password is required');
  const fault = passwordFault(password, uaa.password_policy);
  if (fault !== undefined) throw new UaaError('invalid_password', fault);
}

/** What only an administrator may change. */
function assertMayChangeSelf(before: User, change: ReturnType<typeof changeOf>): void {
  const isKept =
    (change.user_name ?? before.user_name) === before.user_name &&
    (change.active ?? before.active) === before.active &&
    (change.verified ?? before.verified) === before.verified &&
    (change.email ?? before.email) === before.email &&
    (change.origin ?? before.origin) === before.origin;
  if (!isKept) throw new UaaError('access_denied', 'You may change your name and phone number alone');
}

/** UAA lets this list be searched by `id eq` and `userName eq` (and origin) only, lest it be read as a whole. */
function assertIdFilter(filter: Filter): void {
  switch (filter.kind) {
    case 'and':
    case 'or':
      for (const term of filter.terms) assertIdFilter(term);
      return;
    case 'compare':
      if (filter.operator === 'eq' && ['id', 'username', 'origin'].includes(filter.attribute)) return;
      break;
    case 'present':
    case 'not':
      break;
    default:
      filter satisfies never;
  }
  throw new UaaError('scim', 'Wildcards, and other attributes than id, userName and origin, are not allowed here');
}
