import type { FastifyInstance } from 'fastify';
import { createHttpServer } from '#http/server.ts';
import { approvalEndpoints } from './approvals/endpoints.ts';
import { authorizeEndpoints } from './authorize/endpoints.ts';
import { clientEndpoints } from './clients/endpoints.ts';
import { useFormBodies } from './edge/form.ts';
import { useUaaErrors } from './edge/uaa-errors.ts';
import { groupEndpoints } from './groups/endpoints.ts';
import { identityEndpoints } from './identity/endpoints.ts';
import { samlEndpoints } from './identity/saml-endpoints.ts';
import { loginEndpoints } from './login/endpoints.ts';
import { passwordEndpoints } from './login/password-endpoints.ts';
import { signOutEndpoints } from './login/sign-out.ts';
import { openidEndpoints } from './openid/endpoints.ts';
import { tokenEndpoints } from './tokens/endpoints.ts';
import type { Uaa } from './uaa.ts';
import { userEndpoints } from './users/endpoints.ts';

/** The UAA's HTTP face, the same for both of its hosts. `onRoute` hears of each endpoint. */
export function createUaaServer(
  uaa: Uaa,
  onRoute: (route: { method: string | string[]; url: string }) => void = () => {},
): FastifyInstance {
  const server = createHttpServer({ log: uaa.log, body_limit_bytes: uaa.config.body_limit_bytes });
  server.addHook('onRoute', onRoute);
  useFormBodies(server);
  useUaaErrors(server, uaa);
  server.get('/healthz', async () => 'ok');
  tokenEndpoints(server, uaa);
  authorizeEndpoints(server, uaa);
  userEndpoints(server, uaa);
  groupEndpoints(server, uaa);
  clientEndpoints(server, uaa);
  approvalEndpoints(server, uaa);
  openidEndpoints(server, uaa);
  loginEndpoints(server, uaa);
  signOutEndpoints(server, uaa);
  passwordEndpoints(server, uaa);
  identityEndpoints(server, uaa);
  samlEndpoints(server, uaa);
  return server;
}
