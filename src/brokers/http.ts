import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { isDatabaseAway } from '#db/database.ts';
import { type Credentials, isAuthorized } from '#http/basic-auth.ts';
import { MalformedBody } from '#http/server.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Broker, Outcome } from './osb/broker.ts';
import { badRequest, OsbError } from './osb/errors.ts';
import {
  AcceptsIncomplete,
  BindRequest,
  IdsQuery,
  LastOperationQuery,
  ProvisionRequest,
  UpdateRequest,
} from './osb/messages.ts';

const VERSION_HEADER = 'x-broker-api-version';

/**
 * Serves each broker below a path with its name, as the Open Service Broker API 2.17 says: who asks is checked first, then the
 * version, then what is asked.
 */
export function serveBrokers(server: FastifyInstance, brokers: readonly Broker[], login: Credentials): void {
  for (const broker of brokers) {
    void server.register(
      async (scope) => {
        scope.addHook('onRequest', async (request) => {
          if (!isAuthorized(request.headers.authorization, login)) throw new OsbError(401, 'who asks is not known');
          const version = request.headers[VERSION_HEADER];
          if (typeof version !== 'string' || !/^2\.\d+$/.test(version))
            throw new OsbError(412, `${VERSION_HEADER} must be 2.x`);
        });
        serveBroker(scope, broker);
      },
      { prefix: `/${broker.service.entry.name}/v2` },
    );
  }
}

const InstancePath = z.object({ instance: z.string().min(1).max(200) });
const BindingPath = InstancePath.extend({ binding: z.string().min(1).max(200) });

function serveBroker(server: FastifyInstance, broker: Broker): void {
  const instance = '/service_instances/:instance';
  const binding = `${instance}/service_bindings/:binding`;

  server.get('/catalog', async () => broker.catalog);

  server.put(instance, async (request, reply) => {
    const { instance: guid } = read(InstancePath, request.params);
    const { accepts_incomplete } = read(AcceptsIncomplete, request.query);
    return await answer(reply, await broker.provision(guid, read(ProvisionRequest, request.body), accepts_incomplete));
  });
  server.patch(instance, async (request, reply) => {
    const { instance: guid } = read(InstancePath, request.params);
    const { accepts_incomplete } = read(AcceptsIncomplete, request.query);
    return await answer(reply, await broker.update(guid, read(UpdateRequest, request.body), accepts_incomplete));
  });
  server.delete(instance, async (request, reply) => {
    const { instance: guid } = read(InstancePath, request.params);
    const { accepts_incomplete } = read(AcceptsIncomplete, request.query);
    const { service_id } = read(IdsQuery, request.query);
    return await answer(reply, await broker.deprovision(guid, service_id, accepts_incomplete));
  });
  server.get(instance, async (request) => await broker.fetchInstance(read(InstancePath, request.params).instance));
  server.get(`${instance}/last_operation`, async (request) => {
    const { operation } = read(LastOperationQuery, request.query);
    return await broker.lastOperation(read(InstancePath, request.params).instance, operation);
  });

  server.put(binding, async (request, reply) => {
    const path = read(BindingPath, request.params);
    return await answer(reply, await broker.bind(path.instance, path.binding, read(BindRequest, request.body)));
  });
  server.delete(binding, async (request, reply) => {
    const path = read(BindingPath, request.params);
    const { service_id } = read(IdsQuery, request.query);
    return await answer(reply, await broker.unbind(path.instance, path.binding, service_id));
  });
  server.get(binding, async (request) => {
    const path = read(BindingPath, request.params);
    return await broker.fetchBinding(path.instance, path.binding);
  });
}

async function answer(reply: FastifyReply, { status, body }: Outcome): Promise<FastifyReply> {
  return await reply.code(status).send(body);
}

/** Errors: 400 that names what is wrong. */
function read<Schema extends z.ZodType>(schema: Schema, given: unknown): z.output<Schema> {
  const parsed = schema.safeParse(given ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badRequest(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is not as it should be'}`);
}

/** Makes the API's error form of whatever is thrown in a handler. What is not the user's fault is told to the log alone. */
export function useOsbErrors(server: FastifyInstance, log: Log): void {
  server.setErrorHandler(async (thrown, request, reply) => {
    const error = asOsbError(thrown);
    if (error.status >= 500) logFailure(log, request, thrown);
    await reply
      .code(error.status)
      .send({ ...(error.osb_error !== undefined && { error: error.osb_error }), description: error.message });
  });
  server.setNotFoundHandler(async (_request, reply) => {
    await reply.code(404).send({ description: 'there is no such path' });
  });
}

function asOsbError(thrown: unknown): OsbError {
  if (thrown instanceof OsbError) return thrown;
  if (thrown instanceof MalformedBody) return badRequest('the body is not JSON');
  if (isDatabaseAway(thrown)) return new OsbError(503, 'the database of the brokers is away; try again');
  const status = thrown instanceof Error && 'statusCode' in thrown ? thrown.statusCode : undefined;
  if (typeof status === 'number' && status >= 400 && status < 500)
    return new OsbError(status, thrown instanceof Error ? thrown.message : '');
  return new OsbError(500, 'the service could not do it; see the log of the broker');
}

function logFailure(log: Log, request: FastifyRequest, thrown: unknown): void {
  log.error(
    {
      request_id: request.id,
      method: request.method,
      path: request.url.split('?')[0],
      error: describeError(thrown),
      stack: thrown instanceof Error ? thrown.stack : undefined,
    },
    'request failed',
  );
}
