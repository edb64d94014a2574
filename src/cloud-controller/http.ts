import type { FastifyInstance } from 'fastify';
import { request } from 'undici';
import { z } from 'zod';
import { useCfErrors } from '#http/cf-errors.ts';
import { createHttpServer } from '#http/server.ts';
import { TokenVerifier } from '#http/token-verifier.ts';
import { useAuthentication } from './api/caller.ts';
import type { Deps } from './deps.ts';
import { registerResources } from './resources.ts';
import { loadHeldRoles } from './roles/held-roles-store.ts';

const Keys = z.object({ keys: z.array(z.looseObject({ kty: z.string(), kid: z.string() })) });

/** The external face: the v3 API, its errors, who may use it. It listens nowhere yet. */
export function createApiServer(deps: Deps): FastifyInstance {
  const { config, clock, log, db } = deps;
  const server = createHttpServer({ log, body_limit_bytes: config.limits.body_max_bytes });
  useCfErrors(server, log);
  const { url, issuer, audience, timeout_ms } = config.uaa;
  const fetchKeys = async (): Promise<z.output<typeof Keys>> => {
    const response = await request(`${url}/token_keys`, { headersTimeout: timeout_ms, bodyTimeout: timeout_ms });
    return Keys.parse(await response.body.json());
  };
  useAuthentication(server, {
    verifier: new TokenVerifier({ fetchKeys, issuer, audience, clock }),
    rolesOf: async (claims) => await loadHeldRoles(db, claims),
  });
  registerResources(server, deps);
  return server;
}
