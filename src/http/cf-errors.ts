import type { FastifyInstance } from 'fastify';
import { CfError } from '#contracts/cf-errors.ts';
import { isDatabaseAway } from '#db/database.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { MalformedBody } from './server.ts';

/**
 * Makes Cloud Foundry's error form of whatever is thrown in a handler, here and nowhere else. What is not ours reads
 * `500 CF-ServerError` and nothing more; the log has the cause, by request id.
 */
export function useCfErrors(server: FastifyInstance, log: Log): void {
  server.setErrorHandler(async (thrown, request, reply) => {
    const error = asCfError(thrown);
    if (error.status >= 500) {
      log.error(
        {
          request_id: request.id,
          method: request.method,
          path: request.url,
          error: describeError(thrown),
          stack: thrown instanceof Error ? thrown.stack : undefined,
        },
        'request failed',
      );
    }
    await reply.code(error.status).type('application/json; charset=utf-8').send(error.toJSON());
  });
  server.setNotFoundHandler(async (_request, reply) => {
    const error = new CfError('NotFound', 'Unknown request');
    await reply.code(error.status).type('application/json; charset=utf-8').send(error.toJSON());
  });
}

/** What is not ours becomes an error that gives nothing away. */
export function asCfError(thrown: unknown): CfError {
  if (thrown instanceof CfError) return thrown;
  if (thrown instanceof MalformedBody) return new CfError('MessageParseError', thrown.message, { cause: thrown });
  if (isDatabaseAway(thrown)) {
    return new CfError('ServiceUnavailable', 'The database is not available. Please try again.', { cause: thrown });
  }
  switch (fastifyCode(thrown)) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new CfError('PayloadTooLarge', 'The request body is too large', { cause: thrown });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new CfError('BadRequest', 'Unsupported Content-Type', { cause: thrown });
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new CfError('MessageParseError', 'Request invalid due to parse error: invalid request body', {
        cause: thrown,
      });
    default:
      return new CfError('ServerError', 'An unexpected error occurred.', { cause: thrown });
  }
}

function fastifyCode(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : '';
}
