/**
 * What the UAA says to resource servers. Tokens are checked by their signature alone, so a token that is revoked before it
 * expires is told of here: whoever checks tokens keeps the list and refuses them.
 */
import { z } from 'zod';
import { exchange, topic } from './topic.ts';

export const Revocation = z
  .object({
    jti: z.string().optional().describe('this one token'),
    user_id: z.string().optional().describe('all tokens of this user'),
    client_id: z.string().optional().describe('all tokens of this client'),
    issued_until: z.number().describe('seconds since the epoch: tokens whose iat is later are not meant'),
    expires_at: z.number().describe('seconds since the epoch: by then all tokens meant are expired, forget it'),
  })
  .refine((r) => [r.jti, r.user_id, r.client_id].filter((id) => id !== undefined).length === 1, 'one of the ids');
export type Revocation = z.infer<typeof Revocation>;

export const tokenRevoked = topic('uaa.token.revoked', Revocation);
/** Asked by a resource server at its start and after a reconnect; any UAA answers with all that still matter. */
export const revocationList = exchange(
  'uaa.revocations.list',
  z.object({}),
  z.object({ revocations: z.array(Revocation) }),
);
