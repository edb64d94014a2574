import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { describeError } from '#kernel/errors.ts';
import { queryOf } from '../edge/form.ts';
import { redirect } from '../edge/redirect.ts';
import { UaaError } from '../errors.ts';
import { onwardOf } from '../login/onward.ts';
import { digestOf } from '../secrets.ts';
import type { Uaa } from '../uaa.ts';
import type { OidcPeer } from './oidc.ts';
import { ProviderFailed } from './provider-failed.ts';

interface ByOrigin {
  Params: { origin: string };
}

const State = z.object({
  origin: z.string(),
  code_verifier: z.string(),
  nonce: z.string(),
  onward: z.string(),
  browser: z.string(),
});

/** A person has this long to sign in elsewhere. */
const STATE_S = 900;

/** The way to other providers' sign-in pages, and back. */
export function identityEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { browser } = uaa;

  server.get<ByOrigin>('/login/oidc/:origin', async (request, reply) => {
    const peer = peerOf(uaa, request.params.origin);
    const visit = await browser.visit(request, reply, undefined);
    const kept = peer.newState();
    const state = await uaa.tokens.addOneTimeCode({
      purpose: 'sign_in_state',
      user_id: null,
      data: {
        ...kept,
        origin: peer.origin,
        onward: onwardOf(queryOf(request)['continue']),
        // Only the browser that left may come back: else somebody could be signed in as somebody else.
        browser: digestOf(visit.anchor),
      },
      expires_at: new Date(uaa.clock.now() + STATE_S * 1000),
    });
    return await redirect(reply, await peer.departure(state, kept));
  });

  server.get<ByOrigin>('/login/callback/:origin', async (request, reply) => {
    const peer = peerOf(uaa, request.params.origin);
    const visit = await browser.visit(request, reply, undefined);
    const state = queryOf(request)['state'] ?? '';
    const taken = await uaa.tokens.takeOneTimeCode('sign_in_state', state, new Date(uaa.clock.now()));
    const kept = State.safeParse(taken?.data);
    if (!kept.success || kept.data.origin !== peer.origin || kept.data.browser !== digestOf(visit.anchor)) {
      throw new ProviderFailed(peer.origin);
    }
    const facts = { origin: peer.origin, remote_address: request.ip };
    try {
      const user = await peer.arrival(request.url.split('?')[1] ?? '', state, kept.data);
      if (!user.active) throw new ProviderFailed(peer.origin);
      await uaa.users.recordLogon(user.id, new Date(uaa.clock.now()));
      uaa.audit.record({ event: 'user_authentication_success', user_id: user.id, ...facts });
      await browser.signIn(reply, user.id, visit.session);
    } catch (error) {
      if (!(error instanceof UaaError)) throw error;
      uaa.log.warn({ origin: peer.origin, error: describeError(error) }, 'sign-in at provider failed');
      uaa.audit.record({ event: 'user_authentication_failure', ...facts });
      throw error;
    }
    return await redirect(reply, kept.data.onward === '' ? '/' : kept.data.onward);
  });
}

function peerOf(uaa: Uaa, origin: string): OidcPeer {
  const peer = uaa.peers.find((candidate) => candidate.origin === origin);
  if (!peer) throw new UaaError('not_found', 'There is no such identity provider');
  return peer;
}
