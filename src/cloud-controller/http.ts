import type { FastifyInstance } from 'fastify';
import { request } from 'undici';
import { z } from 'zod';
import { useCfErrors } from '#http/cf-errors.ts';
import { createHttpServer } from '#http/server.ts';
import type { Clock } from '#kernel/clock.ts';
import { TokenVerifier } from '#http/token-verifier.ts';
import { type AuthenticationOptions, useAuthentication } from './api/caller.ts';
import { useCleanText } from './api/clean-text.ts';
import { describeApi, gatherEndpoints } from './api/openapi.ts';
import { useRateLimit } from './api/rate-limit.ts';
import { API_VERSION } from './config.ts';
import type { CloudControllerConfig } from './config.ts';
import type { Deps } from './deps.ts';
import { registerResources } from './resources.ts';
import { loadHeldRoles } from './roles/held-roles-store.ts';

const Keys = z.object({ keys: z.array(z.looseObject({ kty: z.string(), kid: z.string() })) });

/** The external face: the v3 API, its errors, who may use it. It listens nowhere yet. */
export function createApiServer(deps: Deps): FastifyInstance {
  const { config, log } = deps;
  const server = createHttpServer({ log, body_limit_bytes: config.limits.body_max_bytes });
  useCfErrors(server, log);
  useCleanText(server);
  useAuthentication(server, uaaAuthentication(deps));
  if (config.limits.rate_limit) useRateLimit(server, config.limits.rate_limit, deps.clock);
  const endpoints = gatherEndpoints(server);
  server.get('/openapi.json', async () =>
    describeApi(endpoints, { title: config.name, version: API_VERSION, url: config.urls.api }),
  );
  registerResources(server, deps);
  return server;
}

/** Checks tokens of our UAA. */
export function uaaVerifier({ uaa }: Pick<CloudControllerConfig, 'uaa'>, clock: Clock): TokenVerifier {
  const { url, issuer, audience, timeout_ms } = uaa;
  const fetchKeys = async (): Promise<z.output<typeof Keys>> => {
    const response = await request(`${url}/token_keys`, { headersTimeout: timeout_ms, bodyTimeout: timeout_ms });
    return Keys.parse(await response.body.json());
  };
  return new TokenVerifier({ fetchKeys, issuer, audience: [audience, DASHBOARDS], clock });
}

/** Of tokens by which a dashboard asks what its user may do with an instance, and for which there is nothing else. */
const DASHBOARDS = 'cloud_controller_service_permissions';

/** Tokens of our UAA, and the roles of those who hold them. */
export function uaaAuthentication({ verifier, db }: Pick<Deps, 'verifier' | 'db'>): AuthenticationOptions {
  return { verifier, rolesOf: async (claims) => await loadHeldRoles(db, claims) };
}
