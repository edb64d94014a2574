import type { Socket } from 'node:net';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { z } from 'zod';
import {
  CreateRequest,
  LayerRequest,
  LimitRequest,
  NetInRequest,
  NetOutRequest,
  NetworkState,
  SignalRequest,
  SpawnRequest,
  StopContainer,
  WARDEN_ERRORS,
} from '#contracts/warden.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { scopeIn } from '#kernel/request-scope.ts';
import { inSpan } from '#kernel/trace.ts';
import { WardenError } from '#http/warden-client.ts';
import type { Backend } from './backend.ts';
import { serveUpgrade } from './upgrades.ts';

/** One request, with what its path named. */
interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  handle: string;
  job_id: string;
  /** Aborted when the caller goes away. */
  signal: AbortSignal;
}

type Answer = object | undefined;
type Endpoint = (exchange: Exchange) => Promise<Answer>;

const BODY_MAX = 4 * 1024 * 1024;

/** Warden's API as contracts/warden.ts has it. */
export function createApi(backend: Backend, log: Log): Server {
  const endpoints = endpointsOf(backend);
  const server = createServer((request, response) => {
    const { method = '', headers } = request;
    const path = (request.url ?? '').split('?')[0]?.replaceAll(/(containers|jobs)\/[^/]+/g, '$1/*') ?? '';
    const about = { component: 'warden', kind: 'server', name: `${method} ${path}`, attributes: {} } as const;
    void inSpan(scopeIn(headers), about, async () => await answer(endpoints, request, response, log));
  });
  server.on('upgrade', (request, socket, head) => {
    // Node says Duplex; behind a listening socket it is one.
    void serveUpgrade(backend, log, { request, socket: socket as Socket, head });
  });
  // Waits for a job's end may take days; sockets of the one caller there is are kept.
  server.requestTimeout = 0;
  server.headersTimeout = 0;
  server.timeout = 0;
  server.keepAliveTimeout = 0;
  return server;
}

function endpointsOf(backend: Backend): Record<string, Endpoint> {
  return {
    'GET /ping': async () => backend.facts(),
    'PUT /network': async ({ request }) => {
      backend.setNetwork(await body(NetworkState, request));
      return {};
    },
    'GET /containers': async () => ({ containers: backend.list() }),
    'POST /containers': async ({ request }) => (await backend.create(await body(CreateRequest, request))).describe(),
    'POST /layers': async ({ request }) => {
      await backend.convertLayer((await body(LayerRequest, request)).path);
      return {};
    },
    'GET /containers/:handle': async ({ handle }) => await backend.find(handle).info(),
    'DELETE /containers/:handle': async ({ handle }) => {
      await backend.destroy(handle);
      return {};
    },
    'POST /containers/:handle/stop': async ({ handle, request }) => {
      await backend.find(handle).stop(await body(StopContainer, request));
      return {};
    },
    'POST /containers/:handle/jobs': async ({ handle, request }) => {
      const { job_id } = await backend.find(handle).spawn(await body(SpawnRequest, request));
      return { job_id };
    },
    'GET /containers/:handle/jobs/:job_id': async ({ handle, job_id }) => await backend.find(handle).link(job_id),
    'GET /containers/:handle/jobs/:job_id/output': async ({ handle, job_id, url, response, signal }) => {
      const lines = backend.find(handle).output(job_id, offsetIn(url), signal);
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.flushHeaders();
      await pipeline(Readable.from(asNdjson(lines)), response);
      return undefined;
    },
    'POST /containers/:handle/jobs/:job_id/signal': async ({ handle, job_id, request }) => {
      const { signal } = await body(SignalRequest, request);
      backend.find(handle).signal(job_id, signal);
      return {};
    },
    'POST /containers/:handle/run': async ({ handle, request, signal }) =>
      await backend.find(handle).run(await body(SpawnRequest, request), signal),
    'POST /containers/:handle/net_in': async ({ handle, request }) =>
      await backend.find(handle).netIn(await body(NetInRequest, request)),
    'PUT /containers/:handle/net_out': async ({ handle, request }) => {
      await backend.find(handle).netOut((await body(NetOutRequest, request)).rules);
      return {};
    },
    'PUT /containers/:handle/limits': async ({ handle, request }) =>
      await backend.find(handle).limit(await body(LimitRequest, request)),
    'PUT /containers/:handle/files': async ({ handle, url, request }) => {
      await backend.find(handle).copyIn({ path: pathIn(url), tar: request });
      return {};
    },
    'GET /containers/:handle/files': async ({ handle, url, response }) => {
      await backend.find(handle).copyOut({
        path: pathIn(url),
        begin: () => response.writeHead(200, { 'content-type': 'application/x-tar' }),
        to: response,
      });
      return undefined;
    },
  };
}

async function answer(
  endpoints: Record<string, Endpoint>,
  request: IncomingMessage,
  response: ServerResponse,
  log: Log,
): Promise<void> {
  const leaving = new AbortController();
  response.once('close', () => leaving.abort());
  try {
    const url = new URL(request.url ?? '/', 'http://warden');
    const { endpoint, handle, job_id } = route(endpoints, `${request.method}`, url.pathname);
    const result = await endpoint({ request, response, url, handle, job_id, signal: leaving.signal });
    if (result) send(response, 200, result);
  } catch (error) {
    const { code, message } = asWardenError(error);
    if (leaving.signal.aborted || response.headersSent) {
      response.destroy();
      return;
    }
    if (code === 'internal') log.error({ path: request.url, error: describeError(error) }, 'request failed');
    send(response, WARDEN_ERRORS[code], { error: { code, message } });
  }
}

function route(endpoints: Record<string, Endpoint>, method: string, path: string) {
  const [, collection = '', handle = '', part = '', job_id = '', last = ''] = path.split('/').map(decode);
  const pattern = [
    collection,
    ...(handle === '' ? [] : [':handle']),
    ...(part === '' ? [] : [part]),
    ...(job_id === '' ? [] : [':job_id']),
    ...(last === '' ? [] : [last]),
  ];
  const endpoint = endpoints[`${method} /${pattern.join('/')}`];
  if (!endpoint) throw new WardenError('invalid_request', `${method} ${path} is none of warden's verbs`);
  return { endpoint, handle, job_id };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function send(response: ServerResponse, status: number, value: object): void {
  const text = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': text.length }).end(text);
}

async function* asNdjson(lines: AsyncIterable<object>): AsyncGenerator<string> {
  for await (const line of lines) yield `${JSON.stringify(line)}\n`;
}

/** Errors: WardenError invalid_request naming each fault. */
async function body<Schema extends z.ZodType>(schema: Schema, request: IncomingMessage): Promise<z.output<Schema>> {
  if (Number(request.headers['content-length'] ?? 0) > BODY_MAX) {
    throw new WardenError('invalid_request', `the body is above ${BODY_MAX} bytes`);
  }
  let value: unknown;
  try {
    value = await json(request);
  } catch (error) {
    throw new WardenError('invalid_request', 'the body is no JSON', { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => `${issue.path.join('.') || '(body)'}: ${issue.message}`);
  throw new WardenError('invalid_request', faults.join('; '));
}

function offsetIn(url: URL): number {
  const offset = Number(url.searchParams.get('offset') ?? 0);
  if (!Number.isSafeInteger(offset) || offset < 0) throw new WardenError('invalid_request', 'offset is no byte number');
  return offset;
}

function pathIn(url: URL): string {
  const path = url.searchParams.get('path') ?? '';
  if (!path.startsWith('/') || path.includes('\0')) throw new WardenError('invalid_request', 'path must be absolute');
  return path;
}

function asWardenError(error: unknown): WardenError {
  if (error instanceof WardenError) return error;
  return new WardenError('internal', 'warden failed; its log says why', { cause: error });
}
