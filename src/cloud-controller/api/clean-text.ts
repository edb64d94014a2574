import type { FastifyInstance } from 'fastify';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';

/**
 * Refuses what no text column can hold: NUL characters, and halves of surrogate pairs, wherever they hide in a URL or a JSON
 * body.
 */
export function useCleanText(server: FastifyInstance): void {
  server.addHook('onRequest', async (request) => {
    if (request.url.includes('%00')) {
      throw new CfError('BadQueryParameter', 'The query parameter is invalid: it contains a null character');
    }
  });
  server.addHook('preHandler', async (request) => {
    if (typeof request.body === 'object' && !isClean(request.body)) {
      throw unprocessable('The request body contains invalid characters');
    }
  });
}

/** Whether no text within holds what a text column cannot. */
export function isClean(value: unknown): boolean {
  if (typeof value === 'string') return !value.includes('\0') && value.isWellFormed();
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return true;
  return Array.isArray(value)
    ? value.every(isClean)
    : Object.entries(value).every(([key, inner]) => isClean(key) && isClean(inner));
}
