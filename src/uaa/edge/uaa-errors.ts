import type { FastifyInstance, FastifyReply } from 'fastify';
import type { z } from 'zod';
import { isDatabaseAway } from '#db/database.ts';
import { MalformedBody } from '#http/server.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { wantsHtml, type BrowserDoor } from '../login/browser.ts';
import { errorPage } from '../login/pages.ts';
import { UAA_ERRORS, UaaError } from '../errors.ts';

/** Makes UAA's error form of whatever is thrown in a handler. What is not ours reads `500 server_error` and nothing more. */
export function useUaaErrors(server: FastifyInstance, { log, browser }: { log: Log; browser: BrowserDoor }): void {
  server.setErrorHandler(async (thrown, request, reply) => {
    const error = asUaaError(thrown);
    const status = UAA_ERRORS[error.code];
    if (status >= 500) {
      const stack = thrown instanceof Error ? thrown.stack : undefined;
      const facts = { request_id: request.id, method: request.method, path: request.url.split('?')[0] };
      log.error({ ...facts, error: describeError(thrown), stack }, 'request failed');
    }
    // A person who followed a link wants a sentence, not JSON.
    if (request.headers.authorization === undefined && wantsHtml(request)) {
      await browser.show(reply, errorPage(browser.contextOf(request, undefined), error), { status });
      return;
    }
    await sendError(reply, error);
  });
  server.setNotFoundHandler(async () => {
    throw new UaaError('not_found', 'There is nothing at this path');
  });
}

async function sendError(reply: FastifyReply, error: UaaError): Promise<void> {
  const status = UAA_ERRORS[error.code];
  const body = { error: error.code, error_description: error.message };
  if (error.code === 'invalid_token' || error.code === 'insufficient_scope') {
    const text = error.message.replace(/[\\"\r\n]/g, ' ');
    reply.header('WWW-Authenticate', `Bearer realm="oauth", error="${error.code}", error_description="${text}"`);
  } else if (error.code === 'invalid_client') {
    reply.header('WWW-Authenticate', 'Basic realm="UAA/client"');
  }
  reply.header('Cache-Control', 'no-store');
  await reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(body));
}

export function asUaaError(thrown: unknown): UaaError {
  if (thrown instanceof UaaError) return thrown;
  const options = { cause: thrown };
  if (thrown instanceof MalformedBody) return new UaaError('invalid_request', 'The body is not valid JSON', options);
  if (isDatabaseAway(thrown)) {
    return new UaaError('temporarily_unavailable', 'The database is not available. Please try again.', options);
  }
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new UaaError('payload_too_large', 'The request body is too large', options);
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new UaaError('unsupported_media_type', 'That Content-Type is not supported here', options);
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
    // PostgreSQL refuses a text with a null character.
    case '22021':
      return new UaaError('invalid_request', 'The request cannot be understood', options);
    default:
      return new UaaError('server_error', 'An unexpected error occurred.', options);
  }
}

/** Checks a JSON body. Errors: the one named, with the first fault's place and reason. */
export function parseBody<Schema extends z.ZodType>(
  schema: Schema,
  body: unknown,
  name: 'invalid_scim_resource' | 'invalid_request',
): z.output<Schema> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const place = issue?.path.join('.') ?? '';
  throw new UaaError(name, place === '' ? 'The body is not what this endpoint takes' : `${place}: ${issue?.message}`);
}
