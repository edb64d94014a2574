import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { fastify, type FastifyInstance, type FastifyRequest } from 'fastify';
import { AppError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { forRequest, REQUEST_ID_HEADER, type RequestScope, TRACE_HEADER } from '#kernel/request-scope.ts';

export interface HttpServerOptions {
  log: Log;
  /** Largest JSON or form body in bytes. */
  body_limit_bytes: number;
  /** Longest wait for a whole request in ms; 0 for no limit (uploads). */
  request_timeout_ms?: number;
}

/** A body that is not what its content type says. */
export class MalformedBody extends AppError {
  constructor(options?: ErrorOptions) {
    super('malformed_body', 'Request invalid due to parse error: invalid request body', options);
  }
}

/**
 * A fastify instance as all our components want it: the request id of the router carried on (`<router's>::<own>`), trailing
 * slashes ignored, an empty body of a JSON request taken as no body (the cf CLI sends Content-Type on every request).
 * Error forms are the component's: see `cf-errors.ts`, or set an error handler.
 */
export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const server = fastify({
    bodyLimit: options.body_limit_bytes,
    requestTimeout: options.request_timeout_ms ?? 0,
    keepAliveTimeout: 95_000,
    logger: false,
    trustProxy: true,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 1024 },
    forceCloseConnections: true,
    genReqId: (request) => {
      const given = request.headers[REQUEST_ID_HEADER];
      const own = randomUUID();
      return typeof given === 'string' && /^[\w:-]{1,400}$/.test(given) ? `${given}::${own}` : own;
    },
  });
  server.removeContentTypeParser('application/json');
  server.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    const text = String(body);
    if (text.trim() === '') return done(null, undefined);
    try {
      return done(null, JSON.parse(text));
    } catch (error) {
      return done(new MalformedBody({ cause: error }));
    }
  });
  // Twice, since what reads the body goes on from the socket's events, which know no request.
  server.addHook('onRequest', (request, _reply, done) => forRequest(scopeOf(request), done));
  server.addHook('preValidation', (request, _reply, done) => forRequest(scopeOf(request), done));
  server.addHook('onSend', async (request, reply) => {
    reply.header('X-Vcap-Request-Id', request.id);
    reply.header('X-Content-Type-Options', 'nosniff');
  });
  server.addHook('onResponse', async (request, reply) => {
    options.log.debug(
      {
        request_id: request.id,
        method: request.method,
        path: request.url.split('?')[0],
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      'request served',
    );
  });
  return server;
}

function scopeOf({ id, headers }: FastifyRequest): RequestScope {
  const given = headers[TRACE_HEADER];
  const isTraced = typeof given === 'string' && /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(given);
  return { request_id: id, ...(isTraced && { traceparent: given }) };
}

/** Starts listening and tells where: `http://host:port`. Port 0 takes any free one. */
export async function listen(server: FastifyInstance, at: { host: string; port: number }): Promise<AddressInfo> {
  await server.listen({ host: at.host, port: at.port });
  const address = server.server.address();
  if (address === null || typeof address === 'string')
    throw new AppError('not_listening', 'the server has no TCP address');
  return address;
}
