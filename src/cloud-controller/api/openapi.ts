import type { FastifyInstance, RouteOptions } from 'fastify';
import { z } from 'zod';
import type { ListSpec } from './list.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The schema that the endpoint checks its body with. */
    body?: z.ZodType;
    /** What the endpoint's query may hold. */
    list?: ListSpec;
  }
}

export interface Endpoint {
  method: string;
  /** As fastify has it: `/v3/spaces/:guid`. */
  path: string;
  body?: z.ZodType | undefined;
  list?: ListSpec | undefined;
}

/** Gathers all endpoints of a server that are registered from now on, but for the policy server's, which is an API of its own. */
export function gatherEndpoints(server: FastifyInstance): readonly Endpoint[] {
  const endpoints: Endpoint[] = [];
  server.addHook('onRoute', (route: RouteOptions) => {
    if (route.url.startsWith('/networking/')) return;
    const methods = typeof route.method === 'string' ? [route.method] : route.method;
    for (const method of methods) {
      // HEAD goes with each GET.
      if (method === 'HEAD' || method === 'OPTIONS') continue;
      endpoints.push({ method, path: route.url, body: route.config?.body, list: route.config?.list });
    }
  });
  return endpoints;
}

/** The OpenAPI 3.1 document of these endpoints, made of the schemas that check their requests. */
export function describeApi(
  endpoints: readonly Endpoint[],
  about: { title: string; version: string; url: string },
): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const endpoint of endpoints) {
    const path = endpoint.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [endpoint.method.toLowerCase()]: describeEndpoint(endpoint) };
  }
  return {
    openapi: '3.1.0',
    info: { title: about.title, version: about.version },
    servers: [{ url: about.url }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
      schemas: { Errors: ERRORS },
      responses: {
        Errors: {
          description: 'What was wrong, one item each',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Errors' } } },
        },
      },
    },
  };
}

const ERRORS = z.toJSONSchema(
  z.object({ errors: z.array(z.object({ code: z.number(), title: z.string(), detail: z.string() })) }),
);

function describeEndpoint({ method, path, body, list }: Endpoint): Record<string, unknown> {
  const [, , tag = 'root'] = path.split('/');
  const parameters = [
    ...[...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string' },
    })),
    ...(list ? queryParameters(list) : []),
  ];
  const isOpen = !/^\/(v3|networking|routing)\//.test(path) || path === '/v3/info';
  return {
    operationId: operationId(method, path),
    tags: [tag],
    ...(isOpen && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        content: {
          'application/json': { schema: z.toJSONSchema(body, { io: 'input', unrepresentable: 'any' }) },
        },
      },
    }),
    responses: {
      '2XX': { description: 'It is done, or with 202 the header Location leads to a job that does it' },
      default: { $ref: '#/components/responses/Errors' },
    },
  };
}

function queryParameters(list: ListSpec): object[] {
  const text = { type: 'string' };
  const of = (name: string, schema: object): object => ({ name, in: 'query', schema });
  const commas = { type: 'array', items: text };
  const filter = (name: string): object => ({ ...of(name, commas), style: 'form', explode: false });
  return [
    of('page', { type: 'integer', minimum: 1 }),
    of('per_page', { type: 'integer', minimum: 1, maximum: 5000 }),
    of('order_by', { enum: ['created_at', 'updated_at', ...(list.order ?? [])].flatMap((name) => [name, `-${name}`]) }),
    ...(list.timestamps === false
      ? []
      : ['created_ats', 'updated_ats'].flatMap((name) =>
          ['', '[lt]', '[lte]', '[gt]', '[gte]'].map((operator) => of(name + operator, text)),
        )),
    ...(list.labels ? [of('label_selector', text)] : []),
    ...(list.include ? [{ ...filter('include'), schema: { type: 'array', items: { enum: list.include } } }] : []),
    ...(list.filters ?? []).map(filter),
    ...(list.plain ?? []).map((name) => of(name, text)),
  ];
}

/** `PATCH /v3/spaces/:guid/features/:name` → `patch_spaces_by_guid_features_by_name`. */
function operationId(method: string, path: string): string {
  const words = path
    .split('/')
    .filter((part) => part !== '' && part !== 'v3')
    .map((part) => (part.startsWith(':') ? `by_${part.slice(1)}` : part.replaceAll(/\W/g, '_')));
  return [method.toLowerCase(), ...words].join('_');
}
