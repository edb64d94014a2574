import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { AppError } from '#kernel/errors.ts';
import { componentOf, type Log } from '#kernel/log.ts';
import { forRequest, REQUEST_ID_HEADER, type RequestScope, TRACE_HEADER } from '#kernel/request-scope.ts';
import { beginSpan, isTracing, readTraceparent, recordSpan, traceparentOf } from '#kernel/trace.ts';

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
  const scopes = new WeakMap<FastifyRequest, RequestScope>();
  server.addHook('onRequest', (request, _reply, done) => {
    const scope = scopeOf(request);
    scopes.set(request, scope);
    forRequest(scope, done);
  });
  server.addHook('preValidation', (request, _reply, done) => forRequest(scopes.get(request), done));
  server.addHook('onSend', async (request, reply) => {
    reply.header('X-Vcap-Request-Id', request.id);
    reply.header('X-Content-Type-Options', 'nosniff');
  });
  server.addHook('onResponse', async (request, reply) => {
    const scope = scopes.get(request);
    if (isTracing() && scope) spanOf(request, reply, { scope, log: options.log });
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

/** While requests are traced, each is a span of its own, and what it asks of others is below that. */
function scopeOf({ id, headers }: FastifyRequest): RequestScope {
  const given = headers[TRACE_HEADER];
  const text = typeof given === 'string' ? given : undefined;
  const parent = readTraceparent(text);
  if (!parent || text === undefined) return { request_id: id };
  return { request_id: id, traceparent: isTracing() ? traceparentOf(beginSpan(parent)) : text };
}

function spanOf(request: FastifyRequest, reply: FastifyReply, { scope, log }: { scope: RequestScope; log: Log }): void {
  const own = readTraceparent(scope.traceparent);
  if (!own) return;
  const end_ms = Date.now();
  const route = request.routeOptions.url ?? 'no route';
  recordSpan({
    ...own,
    component: componentOf(log),
    parent_span_id: readTraceparent(String(request.headers[TRACE_HEADER]))?.span_id,
    name: `${request.method} ${route}`,
    kind: 'server',
    start_ms: end_ms - reply.elapsedTime,
    end_ms,
    is_error: reply.statusCode >= 500,
    attributes: {
      'http.request.method': request.method,
      'http.route': route,
      'url.path': request.url.split('?')[0] ?? '',
      'http.response.status_code': reply.statusCode,
      request_id: request.id,
    },
  });
}

/** Starts listening and tells where: `http://host:port`. Port 0 takes any free one. */
export async function listen(server: FastifyInstance, at: { host: string; port: number }): Promise<AddressInfo> {
  await server.listen({ host: at.host, port: at.port });
  const address = server.server.address();
  if (address === null || typeof address === 'string')
    throw new AppError('not_listening', 'the server has no TCP address');
  return address;
}
