import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { madeBy, requireToken } from '../edge/access.ts';
import { queryOf } from '../edge/form.ts';
import { parseBody } from '../edge/uaa-errors.ts';
import { UaaError } from '../errors.ts';
import { requireParameter } from '../grants/grant-request.ts';
import type { Uaa } from '../uaa.ts';
import type { Approval } from './store.ts';

const ApprovalBody = z.array(
  z.looseObject({
    userId: z.string().optional(),
    clientId: z.string().min(1).max(255),
    scope: z.string().min(1).max(255),
    status: z.enum(['APPROVED', 'DENIED']),
  }),
);

/** A person's own approvals: what clients may do for them. */
export function approvalEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { approvals, audit } = uaa;
  const now = (): Date => new Date(uaa.clock.now());
  const requireUser = async (request: FastifyRequest): Promise<string> => {
    const { user } = await requireToken(request, uaa.guard, 'oauth.approvals', 'approvals.me');
    if (!user) throw new UaaError('insufficient_scope', "A user's token is needed");
    return user.id;
  };

  server.get('/approvals', async (request) => (await approvals.list(await requireUser(request), now())).map(present));

  server.put('/approvals', async (request) => {
    const user_id = await requireUser(request);
    const body = parseBody(ApprovalBody, request.body, 'invalid_request');
    const others = body.find((approval) => approval.userId !== undefined && approval.userId !== user_id);
    if (others) throw new UaaError('access_denied', 'These are not your approvals');
    const byClient = Map.groupBy(body, (approval) => approval.clientId);
    for (const client_id of byClient.keys()) {
      if (!(await uaa.clients.find(client_id)))
        throw new UaaError('invalid_request', `No client with requested id: ${client_id}`);
    }
    const decisions = new Map(
      [...byClient].map(([client_id, list]) => [client_id, new Map(list.map(({ scope, status }) => [scope, status]))]),
    );
    await approvals.replace(user_id, decisions, now());
    audit.record({ event: 'approvals_changed', user_id, ...madeBy(request) });
    return (await approvals.list(user_id, now())).map(present);
  });

  server.delete('/approvals', async (request) => {
    const user_id = await requireUser(request);
    const client_id = requireParameter(queryOf(request), 'clientId');
    await approvals.delete(user_id, client_id);
    audit.record({ event: 'approvals_changed', user_id, client_id, ...madeBy(request) });
    return { status: 'ok', message: `Approvals of user ${user_id} and client ${client_id} revoked` };
  });
}

function present(approval: Approval): object {
  return {
    userId: approval.user_id,
    clientId: approval.client_id,
    scope: approval.scope,
    status: approval.status,
    expiresAt: approval.expires_at.toISOString(),
    lastUpdatedAt: approval.updated_at.toISOString(),
  };
}
