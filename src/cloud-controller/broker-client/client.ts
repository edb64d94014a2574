import { randomUUID } from 'node:crypto';
import { Agent, request } from 'undici';
import type { z } from 'zod';
import { describeError, systemErrorCode } from '#kernel/errors.ts';
import {
  type Answer,
  BindBody,
  type BrokerReply,
  DeleteBody,
  InstanceBody,
  type LastOperation,
  ProvisionBody,
  readFetched,
  readLastOperation,
  readMutation,
} from './replies.ts';
import { BrokerTrouble } from './trouble.ts';

/** Where a broker is, and who we are to it. */
export interface BrokerAccess {
  url: string;
  username: string;
  password: string;
  /** Ends the call early, with the signal's reason. */
  signal?: AbortSignal;
}

/** The instance or binding that a call is about. */
export interface BrokerTarget {
  instance_guid: string;
  /** Of a binding's calls. */
  binding_guid?: string | undefined;
  /** As the catalog has them. */
  service_id: string;
  plan_id: string;
}

export interface BrokerClientOptions {
  client_timeout_s: number;
  /** The API's URL, which brokers are told. */
  api_url: string;
  /** PEM of authorities to trust besides the well-known ones. */
  ca?: string | undefined;
  skip_ssl_validation: boolean;
}

const API_VERSION = '2.17';
const MAX_BODY_BYTES = 10 * 1024 * 1024;
const MAX_REDIRECTS = 5;

/**
 * Speaks to service brokers: one call each, no retries; who calls decides what a trouble means. Source: the Open Service Broker
 * API, version 2.17. Disposing of it ends calls that are under way.
 */
export class BrokerClient implements AsyncDisposable {
  readonly #options: BrokerClientOptions;
  readonly #agent: Agent;

  constructor(options: BrokerClientOptions) {
    this.#options = options;
    const timeout = options.client_timeout_s * 1000;
    this.#agent = new Agent({
      headersTimeout: timeout,
      bodyTimeout: timeout,
      maxResponseSize: MAX_BODY_BYTES,
      connect: {
        timeout,
        rejectUnauthorized: !options.skip_ssl_validation,
        ...(options.ca !== undefined && { ca: options.ca }),
      },
    });
  }

  /** The catalog as it came. Errors: BrokerTrouble. */
  async catalog<Schema extends z.ZodType>(access: BrokerAccess, schema: Schema): Promise<z.output<Schema>> {
    return readFetched(await this.#call(access, { method: 'GET', path: '/v2/catalog' }), schema);
  }

  /** Errors: BrokerTrouble; it says whether an orphan may be left. */
  async provision(access: BrokerAccess, target: BrokerTarget, asked: Asked): Promise<Answer<ProvisionBody>> {
    const reply = await this.#call(access, {
      method: 'PUT',
      path: pathOf(target),
      query: ACCEPTS_INCOMPLETE,
      body: { ...idsOf(target), ...asked.body },
      user_guid: asked.user_guid,
    });
    return readMutation(reply, { done: [200, 201], body: ProvisionBody });
  }

  async update(access: BrokerAccess, target: BrokerTarget, asked: Asked): Promise<Answer<ProvisionBody>> {
    const reply = await this.#call(access, {
      method: 'PATCH',
      path: pathOf(target),
      query: ACCEPTS_INCOMPLETE,
      body: { service_id: target.service_id, ...asked.body },
      user_guid: asked.user_guid,
    });
    return readMutation(reply, { done: [200], body: ProvisionBody });
  }

  async bind(access: BrokerAccess, target: BrokerTarget, asked: Asked): Promise<Answer<BindBody>> {
    const reply = await this.#call(access, {
      method: 'PUT',
      path: pathOf(target),
      query: ACCEPTS_INCOMPLETE,
      body: { ...idsOf(target), ...asked.body },
      user_guid: asked.user_guid,
    });
    return readMutation(reply, { done: [200, 201], body: BindBody });
  }

  /** Deprovisions an instance, or unbinds a binding. What is gone already is deleted. Errors: BrokerTrouble. */
  async remove(
    access: BrokerAccess,
    target: BrokerTarget,
    user_guid: string | undefined,
  ): Promise<Answer<z.infer<typeof DeleteBody>>> {
    const reply = await this.#call(access, {
      method: 'DELETE',
      path: pathOf(target),
      query: { ...idsOf(target), ...ACCEPTS_INCOMPLETE },
      user_guid,
    });
    return readMutation(reply, { done: [200], body: DeleteBody, isDeletion: true });
  }

  /** Never throws for what the broker says or fails to say. */
  async lastOperation(
    access: BrokerAccess,
    target: BrokerTarget,
    asked: { operation: string | undefined; user_guid: string | undefined },
  ): Promise<LastOperation> {
    const { operation, user_guid } = asked;
    const query = { ...idsOf(target), ...(operation !== undefined && { operation }) };
    try {
      return readLastOperation(
        await this.#call(access, { method: 'GET', path: `${pathOf(target)}/last_operation`, query, user_guid }),
      );
    } catch (error) {
      if (error instanceof BrokerTrouble) return { state: 'unknown', retry_after_s: undefined };
      throw error;
    }
  }

  /** Errors: BrokerTrouble. */
  async fetchBinding(access: BrokerAccess, target: BrokerTarget, user_guid: string | undefined): Promise<BindBody> {
    const query = idsOf(target);
    return readFetched(await this.#call(access, { method: 'GET', path: pathOf(target), query, user_guid }), BindBody);
  }

  async fetchInstance(
    access: BrokerAccess,
    target: BrokerTarget,
    user_guid: string | undefined,
  ): Promise<z.infer<typeof InstanceBody>> {
    const query = idsOf(target);
    return readFetched(
      await this.#call(access, { method: 'GET', path: pathOf(target), query, user_guid }),
      InstanceBody,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  async #call(access: BrokerAccess, call: Call): Promise<BrokerReply> {
    const timeout = AbortSignal.timeout(Math.ceil(this.#options.client_timeout_s * 1000));
    const signal = access.signal === undefined ? timeout : AbortSignal.any([timeout, access.signal]);
    let url = urlOf(access.url, call);
    try {
      for (let redirects = 0; ; redirects++) {
        const reply = await this.#send(url, { access, call, signal });
        const isMoved = call.method === 'GET' && reply.status >= 300 && reply.status < 400;
        if (!isMoved || reply.location === undefined || redirects >= MAX_REDIRECTS) return reply;
        const next = new URL(reply.location, url);
        // Our password is for the broker alone.
        if (next.origin !== url.origin) return reply;
        url = next;
      }
    } catch (error) {
      if (error instanceof BrokerTrouble || access.signal?.aborted === true) throw error;
      if (isTimeout(error)) {
        throw new BrokerTrouble('timed_out', `The request to the service broker timed out: ${access.url}`, {
          cause: error,
        });
      }
      // Whether what was sent arrived is known only of a connection that was never made.
      const trouble = wasConnected(error) ? 'server_error' : 'unreachable';
      const text = `The service broker could not be reached: ${access.url}: ${describeError(error)}`;
      throw new BrokerTrouble(trouble, text, { cause: error });
    }
  }

  async #send(
    url: URL,
    { access, call, signal }: { access: BrokerAccess; call: Call; signal: AbortSignal },
  ): Promise<BrokerReply & { location: string | undefined }> {
    const response = await request(url, {
      method: call.method,
      dispatcher: this.#agent,
      signal,
      // Calls are rare, and a kept connection that the broker has closed would look like a broker that fails.
      reset: true,
      headers: {
        accept: 'application/json',
        authorization: `Basic ${Buffer.from(`${access.username}:${access.password}`).toString('base64')}`,
        'x-broker-api-version': API_VERSION,
        'x-broker-api-request-identity': randomUUID(),
        'x-vcap-request-id': randomUUID(),
        'x-api-info-location': `${new URL(this.#options.api_url).host}/`,
        ...(call.user_guid !== undefined && { 'x-broker-api-originating-identity': identityOf(call.user_guid) }),
        ...(call.body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
    });
    const text = await response.body.text();
    const retry = Number(headerOf(response.headers['retry-after']));
    return {
      status: response.statusCode,
      text,
      retry_after_s: Number.isFinite(retry) && retry > 0 ? retry : undefined,
      location: headerOf(response.headers['location']),
    };
  }
}

/** What a call sends besides the ids, and in whose name. */
export interface Asked {
  body: Record<string, unknown>;
  user_guid: string | undefined;
}

interface Call {
  method: 'GET' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  query?: Record<string, string>;
  body?: Record<string, unknown>;
  user_guid?: string | undefined;
}

const ACCEPTS_INCOMPLETE = { accepts_incomplete: 'true' };

function pathOf({ instance_guid, binding_guid }: BrokerTarget): string {
  const instance = `/v2/service_instances/${encodeURIComponent(instance_guid)}`;
  return binding_guid === undefined ? instance : `${instance}/service_bindings/${encodeURIComponent(binding_guid)}`;
}

function idsOf({ service_id, plan_id }: BrokerTarget): { service_id: string; plan_id: string } {
  return { service_id, plan_id };
}

function urlOf(base: string, { path, query }: Call): URL {
  const url = new URL(`${base.replace(/\/+$/, '')}${path}`);
  for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
  return url;
}

function identityOf(user_guid: string): string {
  return `cloudfoundry ${Buffer.from(JSON.stringify({ user_id: user_guid })).toString('base64')}`;
}

function headerOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function isTimeout(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name === 'TimeoutError' || /^UND_ERR_(HEADERS|BODY|CONNECT)_TIMEOUT$/.test(systemErrorCode(error) ?? '');
}

const NEVER_CONNECTED =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/;

function wasConnected(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const code = systemErrorCode(at) ?? '';
    if (NEVER_CONNECTED.test(code)) return false;
    if (at instanceof AggregateError) return at.errors.some(wasConnected);
  }
  return true;
}
