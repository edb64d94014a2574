import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { hasScope, madeBy, requireToken } from '../edge/access.ts';
import { queryOf } from '../edge/form.ts';
import { parseBody } from '../edge/uaa-errors.ts';
import { badCredentials, UaaError } from '../errors.ts';
import { hashPassword } from '../passwords/hash.ts';
import { parseListRequest, presentList } from '../scim/list-request.ts';
import type { Client } from '../tables.ts';
import type { HeldToken } from '../tokens/token-guard.ts';
import type { Uaa } from '../uaa.ts';
import { assertMayGrant } from './policy.ts';
import { ClientBody, invalid, presentClient, propertiesOf } from './schema.ts';
import { clientNotFound, type ClientChange } from './store.ts';

interface ById {
  Params: { id: string };
}

const SecretBody = z.looseObject({
  oldSecret: z.string().max(4096).nullish(),
  secret: z.string().max(4096).nullish(),
  changeMode: z.enum(['ADD', 'DELETE', 'UPDATE']).default('UPDATE'),
});
const ChangeBody = ClientBody.extend({
  client_id: z.string().min(1).max(255),
  action: z.enum(['add', 'update', 'update,secret', 'secret', 'delete']).default('add'),
});
const MAX_SECRETS = 2;

export function clientEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { clients, guard, audit } = uaa;

  server.get('/oauth/clients', async (request) => {
    await requireToken(request, guard, 'clients.read', 'clients.admin');
    const list = parseListRequest(queryOf(request));
    const page = await clients.list(list.page);
    return presentList(page, list, page.rows.map(presentClient));
  });

  server.get<ById>('/oauth/clients/:id', async (request) => {
    await requireToken(request, guard, 'clients.read', 'clients.admin');
    return presentClient(await see(uaa, request.params.id));
  });

  server.post('/oauth/clients', async (request, reply) => {
    const held = await requireToken(request, guard, 'clients.write', 'clients.admin');
    const body = parseBody(ClientBody, request.body, 'invalid_request');
    const [created] = await clients.modify([await additionOf(uaa, held, body)]);
    audit.record({ event: 'client_created', client_id: created?.client_id, ...madeBy(request) });
    reply.code(201);
    return created && presentClient(created);
  });

  server.put<ById>('/oauth/clients/:id', async (request) => {
    const held = await requireToken(request, guard, 'clients.write', 'clients.admin');
    const client_id = request.params.id;
    const body = parseBody(ClientBody, request.body, 'invalid_request');
    if (body.client_id !== undefined && body.client_id !== client_id) throw invalid('The client_id does not change');
    const [updated] = await clients.modify([await updateOf(uaa, held, { ...body, client_id })]);
    audit.record({ event: 'client_modified', client_id, ...madeBy(request) });
    return updated && presentClient(updated);
  });

  server.delete<ById>('/oauth/clients/:id', async (request) => {
    const held = await requireToken(request, guard, 'clients.write', 'clients.admin');
    const client = await see(uaa, request.params.id);
    assertMayGrant(held, client);
    const { client_id } = client;
    await clients.modify([{ kind: 'delete', client_id }]);
    await uaa.revocations.tellClient(client_id);
    audit.record({ event: 'client_deleted', client_id, ...madeBy(request) });
    return presentClient(client);
  });

  server.put<ById>('/oauth/clients/:id/secret', async (request) => {
    const { id } = request.params;
    const held = await requireToken(request, guard);
    const client = await see(uaa, id);
    const { oldSecret, secret, changeMode } = parseBody(SecretBody, request.body, 'invalid_request');
    await assertMayChangeSecret(uaa, held, client, oldSecret ?? undefined);
    const hashes = client.secret_hashes;
    if (changeMode === 'ADD' && hashes.length >= MAX_SECRETS)
      throw invalid('client secret is already set: there are two');
    if (changeMode === 'DELETE' && hashes.length < MAX_SECRETS)
      throw invalid('client secret is not set: there is but one');
    if (changeMode !== 'DELETE' && (secret ?? '') === '') throw invalid('secret: a new one is needed');
    const added = changeMode === 'DELETE' ? [] : [await hashPassword(secret ?? '')];
    const kept = changeMode === 'ADD' ? hashes : changeMode === 'DELETE' ? hashes.slice(1) : [];
    // What the old secret gave ends with it, unless the change is one that two secrets make smooth.
    await clients.setSecrets(id, [...kept, ...added], changeMode === 'UPDATE');
    if (changeMode === 'UPDATE') await uaa.revocations.tellClient(id);
    audit.record({ event: 'client_secret_changed', client_id: id, ...madeBy(request), data: { changeMode } });
    const verb = { ADD: 'added', DELETE: 'deleted', UPDATE: 'updated' }[changeMode];
    return { status: 'ok', message: `Secret is ${verb}` };
  });

  // Several changes, of which all or none happen; the cloud controller sends dashboards' clients so.
  server.post('/oauth/clients/tx/modify', async (request) => {
    const held = await requireToken(request, guard, 'clients.admin', 'clients.write');
    const bodies = parseBody(z.array(ChangeBody).min(1).max(200), request.body, 'invalid_request');
    const changes: ClientChange[] = [];
    for (const body of bodies) changes.push(...(await changesOf(uaa, held, body)));
    const changed = await clients.modify(changes);
    for (const change of changes) {
      if (change.kind === 'delete' || change.kind === 'secret') await uaa.revocations.tellClient(change.client_id);
      record(uaa, request, change);
    }
    return changed.map(presentClient);
  });
}

async function see(uaa: Uaa, client_id: string): Promise<Client> {
  const client = await uaa.clients.find(client_id);
  if (!client) throw clientNotFound(client_id);
  return client;
}

async function additionOf(uaa: Uaa, held: HeldToken, body: ClientBody): Promise<ClientChange> {
  const { client_id, client_secret } = body;
  if (client_id === undefined) throw invalid('client_id: a client needs one');
  const properties = propertiesOf(body, [...uaa.grants.keys()]);
  assertMayGrant(held, properties);
  const isPublic = properties.allowpublic && !properties.authorized_grant_types.includes('client_credentials');
  if ((client_secret ?? '') === '' && !isPublic) throw invalid('client_secret: a client that is not public needs one');
  const secret_hash = client_secret == null || client_secret === '' ? null : await hashPassword(client_secret);
  return { kind: 'add', client_id, properties, secret_hash };
}

async function updateOf(uaa: Uaa, held: HeldToken, body: ClientBody & { client_id: string }): Promise<ClientChange> {
  assertMayGrant(held, await see(uaa, body.client_id));
  const properties = propertiesOf(body, [...uaa.grants.keys()]);
  assertMayGrant(held, properties);
  return { kind: 'update', client_id: body.client_id, properties };
}

async function changesOf(uaa: Uaa, held: HeldToken, body: z.infer<typeof ChangeBody>): Promise<ClientChange[]> {
  const { client_id } = body;
  switch (body.action) {
    case 'add':
      return [await additionOf(uaa, held, body)];
    case 'update':
      return [await updateOf(uaa, held, body)];
    case 'delete':
      assertMayGrant(held, await see(uaa, client_id));
      return [{ kind: 'delete', client_id }];
    case 'secret':
    case 'update,secret': {
      assertMayGrant(held, await see(uaa, client_id));
      if ((body.client_secret ?? '') === '') throw invalid('client_secret: a new one is needed');
      const secret: ClientChange = {
        kind: 'secret',
        client_id,
        secret_hash: await hashPassword(body.client_secret ?? ''),
      };
      return body.action === 'secret' ? [secret] : [await updateOf(uaa, held, body), secret];
    }
    default:
      return body.action satisfies never;
  }
}

/** Its own secret a client changes by the old one; somebody else's takes an administrator. Errors: insufficient_scope, unauthorized. */
async function assertMayChangeSecret(
  uaa: Uaa,
  held: HeldToken,
  client: Client,
  oldSecret: string | undefined,
): Promise<void> {
  if (hasScope(held, 'clients.admin')) return;
  if (held.claims.sub !== client.client_id || !hasScope(held, 'clients.secret')) {
    throw new UaaError('insufficient_scope', "clients.admin is needed to change another client's secret");
  }
  if (!(await uaa.secrets.matches(oldSecret ?? '', client.secret_hashes))) throw badCredentials();
}

function record(uaa: Uaa, request: FastifyRequest, { kind, client_id }: ClientChange): void {
  const events = {
    add: 'client_created',
    update: 'client_modified',
    delete: 'client_deleted',
    secret: 'client_secret_changed',
  } as const;
  uaa.audit.record({ event: events[kind], client_id, ...madeBy(request) });
}
