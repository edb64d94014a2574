import { hostname, uptime } from 'node:os';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { KeysUnavailable } from '#http/token-verifier.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { type Access, AccessUnknown, type Reader } from './access.ts';
import { parseReadQuery, parseSearchTerms, QueryInvalid, type QueryParameters } from './read-query.ts';
import { renderBatch } from './render.ts';
import { SearchTooLong, TooManySearches } from './search-pool.ts';
import type { LogStore, SourceMeta } from './store.ts';

export interface LogCacheOptions {
  store: LogStore;
  access: Access;
  clock: Clock;
}

/** The version of log-cache whose API this is; clients look for `/api/v1` from 2.0.0 on. */
const API_VERSION = '3.0.11';

export class Unauthenticated extends Error {}
export class SourceHidden extends Error {}

/**
 * log-cache's HTTP API. Source: code.cloudfoundry.org/log-cache and its cf-auth-proxy. A source that is unknown or not
 * permitted reads as 404; without a good token 401.
 */
export function serveLogCache(server: FastifyInstance, { store, access, clock }: LogCacheOptions): void {
  server.get('/api/v1/info', async (_request, reply) => {
    return await json(reply, JSON.stringify({ version: API_VERSION, vm_uptime: String(Math.floor(uptime())) }));
  });

  server.get<{ Params: { source_id: string }; Querystring: QueryParameters }>(
    '/api/v1/read/:source_id',
    async (request, reply) => {
      const reader = await authenticated(access, request.headers.authorization);
      const { source_id } = request.params;
      if (!(await access.mayRead(reader, source_id))) throw new SourceHidden();
      const query = await parseReadQuery(request.query, clock.now());
      const terms = parseSearchTerms(request.query);
      const entries = await (terms ? store.search(source_id, query, terms) : store.read(source_id, query));
      return await json(reply, `{"envelopes":{"batch":${renderBatch(source_id, entries, 'snake')}}}`);
    },
  );

  server.get('/api/v1/meta', async (request, reply) => {
    const reader = await authenticated(access, request.headers.authorization);
    const shown: [string, unknown][] = [];
    for (const [source_id, meta] of store.metas()) {
      if (await access.mayRead(reader, source_id)) shown.push([source_id, presentMeta(meta)]);
    }
    return await json(reply, JSON.stringify({ meta: Object.fromEntries(shown) }));
  });
}

/** The gateway's error form, `{"error":"…"}`, for all that this component serves. */
export function useLogErrors(server: FastifyInstance, log: Log): void {
  server.setNotFoundHandler(async (_request, reply) => await fail(reply, 404, 'not found'));
  server.setErrorHandler(async (thrown, request, reply) => {
    if (thrown instanceof Unauthenticated) {
      void reply.header('WWW-Authenticate', `Bearer realm="${hostname()}"`);
      return await fail(reply, 401, 'unauthorized');
    }
    if (thrown instanceof SourceHidden) return await fail(reply, 404, 'not found');
    if (thrown instanceof TooManySearches) return await fail(reply, 429, thrown.message);
    if (thrown instanceof SearchTooLong) return await fail(reply, 504, thrown.message);
    if (thrown instanceof QueryInvalid) return await fail(reply, 400, thrown.message);
    if (thrown instanceof KeysUnavailable || thrown instanceof AccessUnknown) {
      log.warn({ request_id: request.id, error: describeError(thrown) }, 'permission not known');
      return await fail(reply, 503, thrown.message);
    }
    log.error({ request_id: request.id, path: request.url, error: describeError(thrown) }, 'request failed');
    return await fail(reply, 500, 'an unexpected error occurred');
  });
}

/** Errors: Unauthenticated, KeysUnavailable. */
export async function authenticated(access: Access, authorization: string | undefined): Promise<Reader> {
  const reader = await access.reader(authorization);
  if (!reader) throw new Unauthenticated();
  return reader;
}

function presentMeta({ count, expired, oldest, newest }: SourceMeta): Record<string, string> {
  return {
    count: String(count),
    expired: String(expired),
    oldestTimestamp: String(oldest),
    newestTimestamp: String(newest),
  };
}

async function json(reply: FastifyReply, text: string): Promise<FastifyReply> {
  return await reply.type('application/json').send(text);
}

async function fail(reply: FastifyReply, status: number, error: string): Promise<FastifyReply> {
  return await reply.code(status).type('application/json').send(JSON.stringify({ error }));
}
