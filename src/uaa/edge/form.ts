import type { FastifyInstance, FastifyRequest } from 'fastify';
import { UaaError } from '../errors.ts';
import type { Parameters } from '../grants/grant-request.ts';

/** Reads forms as parameters of which each may be there once (RFC 6749 section 3.2), and SCIM's own JSON type. */
export function useFormBodies(server: FastifyInstance): void {
  server.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, readParameters(String(body)));
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  });
  server.addContentTypeParser('application/scim+json', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, JSON.parse(String(body)));
    } catch (error) {
      done(new UaaError('invalid_request', 'The body is not valid JSON', { cause: error }));
    }
  });
}

/** Errors: invalid_request for a parameter that is there twice. */
export function readParameters(text: string): Parameters {
  const parameters: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of new URLSearchParams(text)) {
    if (name in parameters) throw new UaaError('invalid_request', `The parameter ${name.slice(0, 100)} is there twice`);
    if (value.includes('\0'))
      throw new UaaError('invalid_request', `The parameter ${name.slice(0, 100)} has a null character`);
    parameters[name] = value;
  }
  return parameters;
}

export function queryOf(request: FastifyRequest): Parameters {
  return readParameters(request.raw.url?.split('?').slice(1).join('?') ?? '');
}

/** Errors: invalid_request when the body is not a form. */
export function formOf(request: FastifyRequest): Parameters {
  const { body } = request;
  const type = request.headers['content-type'] ?? '';
  if (body === undefined || body === null) return {};
  if (!type.startsWith('application/x-www-form-urlencoded')) {
    throw new UaaError('invalid_request', 'The body has to be application/x-www-form-urlencoded');
  }
  return body as Parameters;
}
