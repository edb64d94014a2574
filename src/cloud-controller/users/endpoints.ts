import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { parseList } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import type { UserRow } from '../tables.ts';
import type { UaaUser } from './directory.ts';
import { presentUser, presentUserPage } from './presenter.ts';
import { CreateUser, UpdateUser } from './schema.ts';
import {
  deleteUser,
  findUser,
  insertUser,
  isVisible,
  listUsers,
  nameUsers,
  updateUserMetadata,
  USER_LIST,
} from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerUserEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, directory, operations, jobs } = deps;
  const see = async (caller: Caller, guid: string): Promise<UserRow> => {
    const found = await findUser(db, guid);
    if (!found || !(caller.seesEverything || (await isVisible(db, guid, caller)))) throw notFound('User');
    return (await nameUsers(deps, [found]))[0] ?? found;
  };

  server.get('/v3/users', { config: { list: USER_LIST } }, async (request) => {
    const query = parseList(request, USER_LIST);
    return await presentUserPage(await listUsers(db, query, { visible_to: request.caller }), query, deps);
  });

  server.get<ByGuid>('/v3/users/:guid', async ({ params, caller }) =>
    presentUser(await see(caller, params.guid), links),
  );

  server.post('/v3/users', { config: { body: CreateUser } }, async ({ body, caller }, reply) => {
    caller.require('platform.write');
    const wanted = parseBody(CreateUser, body);
    let user: UaaUser | { guid: string; username: null; origin: null };
    if (wanted.guid !== undefined) {
      // A guid that the UAA does not know may be a client's id, which has roles too.
      const [known] = await directory.byGuids([wanted.guid]);
      user = known ?? { guid: wanted.guid, username: null, origin: null };
    } else {
      const [known] = await directory.byUsername(wanted.username ?? '', wanted.origin);
      if (!known) {
        throw unprocessable(`No user exists with the username '${wanted.username}' and origin '${wanted.origin}'.`);
      }
      user = known;
    }
    return reply.code(201).send(presentUser(await insertUser(db, user, wanted.metadata), links));
  });

  server.patch<ByGuid>('/v3/users/:guid', { config: { body: UpdateUser } }, async ({ params, body, caller }) => {
    const found = await see(caller, params.guid);
    caller.require('platform.write');
    const { metadata } = parseBody(UpdateUser, body);
    return presentUser(await updateUserMetadata(db, found, metadata), links);
  });

  const Payload = z.object({ guid: z.string() });
  operations.register(
    'user.delete',
    (given) => Payload.parse(given),
    async ({ guid }, context) => {
      await inTransaction(db, async (trx) => {
        await deleteUser(trx, guid);
        await context.complete(trx);
      });
    },
  );
  server.delete<ByGuid>('/v3/users/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('platform.write');
    const job_guid = await jobs.enqueue(db, {
      operation: 'user.delete',
      resource: { type: 'users', guid: found.guid },
      payload: { guid: found.guid },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job_guid);
  });
}
