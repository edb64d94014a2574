import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { describeError } from '#kernel/errors.ts';
import { formOf, queryOf } from '../edge/form.ts';
import { redirect } from '../edge/redirect.ts';
import { UaaError } from '../errors.ts';
import { onwardOf } from '../login/onward.ts';
import { digestOf } from '../secrets.ts';
import type { Uaa } from '../uaa.ts';
import { ProviderFailed } from './provider-failed.ts';
import type { SamlPeer } from './saml.ts';

interface ByOrigin {
  Params: { origin: string };
}

const Departed = z.object({ origin: z.string(), onward: z.string(), browser: z.string() });
const STATE_S = 900;
const ARRIVED_S = 60;

export function samlEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { browser, tokens } = uaa;
  const now = (): Date => new Date(uaa.clock.now());
  const later = (seconds: number): Date => new Date(uaa.clock.now() + seconds * 1000);

  server.get<ByOrigin>(
    '/saml/metadata/:origin',
    async (request, reply) =>
      await reply.type('application/samlmetadata+xml').send(peerOf(uaa, request.params.origin).metadata()),
  );

  server.get<ByOrigin>('/login/saml/:origin', async (request, reply) => {
    const peer = peerOf(uaa, request.params.origin);
    const visit = await browser.visit(request, reply, undefined);
    const data = {
      origin: peer.origin,
      onward: onwardOf(queryOf(request)['continue']),
      browser: digestOf(visit.anchor),
    };
    const relay = await tokens.addOneTimeCode({
      purpose: 'sign_in_state',
      user_id: null,
      data,
      expires_at: later(STATE_S),
    });
    return await redirect(reply, await peer.departure(relay));
  });

  // The provider's page posts here from its own site, where our cookies are not sent: whose browser it is shows at the next step.
  server.post<ByOrigin>('/saml/SSO/alias/:origin', async (request, reply) => {
    const peer = peerOf(uaa, request.params.origin);
    const form = formOf(request);
    const departed = Departed.safeParse(
      (await tokens.takeOneTimeCode('sign_in_state', form['RelayState'] ?? '', now()))?.data,
    );
    if (!departed.success || departed.data.origin !== peer.origin) throw new ProviderFailed(peer.origin);
    try {
      const user = await peer.arrival(form['SAMLResponse'] ?? '');
      const arrived = {
        purpose: 'sign_in_state',
        user_id: user.id,
        data: departed.data,
        expires_at: later(ARRIVED_S),
      } as const;
      const code = await tokens.addOneTimeCode(arrived);
      return await redirect(reply, `/login/saml/${peer.origin}/arrived?${new URLSearchParams({ code }).toString()}`);
    } catch (error) {
      if (!(error instanceof UaaError)) throw error;
      uaa.log.warn({ origin: peer.origin, error: describeError(error) }, 'sign-in at provider failed');
      uaa.audit.record({ event: 'user_authentication_failure', origin: peer.origin, remote_address: request.ip });
      throw error;
    }
  });

  server.get<ByOrigin>('/login/saml/:origin/arrived', async (request, reply) => {
    const { origin } = peerOf(uaa, request.params.origin);
    const visit = await browser.visit(request, reply, undefined);
    const taken = await tokens.takeOneTimeCode('sign_in_state', queryOf(request)['code'] ?? '', now());
    const departed = Departed.safeParse(taken?.data);
    const isOwn =
      departed.success && departed.data.origin === origin && departed.data.browser === digestOf(visit.anchor);
    const user = isOwn && taken?.user_id != null ? await uaa.users.find(taken.user_id) : undefined;
    if (!departed.success || !user?.active) throw new ProviderFailed(origin);
    await uaa.users.recordLogon(user.id, now());
    uaa.audit.record({ event: 'user_authentication_success', user_id: user.id, origin, remote_address: request.ip });
    await browser.signIn(reply, user.id, visit.session);
    return await redirect(reply, departed.data.onward === '' ? '/' : departed.data.onward);
  });
}

function peerOf(uaa: Uaa, origin: string): SamlPeer {
  const peer = uaa.samlPeers.find((candidate) => candidate.origin === origin);
  if (!peer) throw new UaaError('not_found', 'There is no such identity provider');
  return peer;
}
