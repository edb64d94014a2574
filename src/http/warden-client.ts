import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { json } from 'node:stream/consumers';
import { z } from 'zod';
import { ATTACH_PROTOCOL, DIAL_PROTOCOL } from '#contracts/attach.ts';
import {
  ContainerInfo,
  ContainerLimits,
  ContainerList,
  CreateReply,
  type CreateRequest,
  JobOutput,
  JobResult,
  type LimitRequest,
  type NetInRequest,
  PortMapping,
  type SignalName,
  SpawnReply,
  type SpawnRequest,
  type NetworkState,
  type StopContainer,
  WARDEN_ERRORS,
  WardenFacts,
  WardenError as WardenErrorBody,
  type WardenErrorCode,
} from '#contracts/warden.ts';
import type { EgressRule } from '#contracts/dea.ts';
import { AppError, systemErrorCode } from '#kernel/errors.ts';
import { requestHeaders } from '#kernel/request-scope.ts';
import { requestUpgrade } from './upgrade.ts';

/** What warden refused or failed at; `code` is one of the contract's. */
export class WardenError extends AppError {
  override readonly code: WardenErrorCode;

  constructor(code: WardenErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options);
    this.code = code;
  }
}

/** No answer: the daemon is not running, or went away in the middle of the call, which may or may not have been carried out. */
export class WardenUnreachable extends AppError {
  constructor(socket_path: string, options?: ErrorOptions) {
    super('warden_unreachable', `warden does not answer on ${socket_path}`, options);
  }
}

export interface WaitOptions {
  /** Gives up waiting; the job runs on. The call rejects with the signal's reason. */
  signal?: AbortSignal;
}

interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  body?: unknown;
  upload?: Readable;
  signal?: AbortSignal | undefined;
}

const Nothing = z.object({});

/**
 * Typed client of warden's API (contracts/warden.ts) over its unix socket.
 * Errors of every method: WardenError with the contract's code, WardenUnreachable.
 */
export class WardenClient implements Disposable {
  readonly socket_path: string;
  readonly #agent: Agent;

  constructor(options: { socket_path: string }) {
    this.socket_path = options.socket_path;
    this.#agent = new Agent({ keepAlive: true });
  }

  async ping(): Promise<WardenFacts> {
    return await this.#ask(WardenFacts, { method: 'GET', path: '/ping' });
  }

  async list(): Promise<ContainerList['containers']> {
    const { containers } = await this.#ask(ContainerList, { method: 'GET', path: '/containers' });
    return containers;
  }

  /** Errors: handle_taken, resources_exhausted, path_not_found (a stack, layer or bind mount), create_failed. */
  async create(body: CreateRequest): Promise<CreateReply> {
    return await this.#ask(CreateReply, { method: 'POST', path: '/containers', body });
  }

  async info(handle: string): Promise<ContainerInfo> {
    return await this.#ask(ContainerInfo, { method: 'GET', path: container(handle) });
  }

  /** TERM to every job, KILL after `grace_s` (10 s unless said), or with `kill` at once. Answers when all have ended. */
  async stop(handle: string, body: StopContainer = {}): Promise<void> {
    await this.#ask(Nothing, { method: 'POST', path: `${container(handle)}/stop`, body });
  }

  async destroy(handle: string): Promise<void> {
    await this.#ask(Nothing, { method: 'DELETE', path: container(handle) });
  }

  /** Starts a process and gives its job's id; resolves once it runs. */
  async spawn(handle: string, body: SpawnRequest): Promise<string> {
    const path = `${container(handle)}/jobs`;
    const { job_id } = await this.#ask(SpawnReply, { method: 'POST', path, body });
    return job_id;
  }

  /** Waits for the job's end. One that ended long ago answers at once. */
  async link(handle: string, job_id: string, options: WaitOptions = {}): Promise<JobResult> {
    return await this.#ask(JobResult, { method: 'GET', path: job(handle, job_id), signal: options.signal });
  }

  /**
   * The job's output line by line from byte `offset` of its log (0: from the start) until it ends; the last item is its
   * exit status. After WardenUnreachable, go on with the `offset` of the last line that came.
   */
  async *stream(handle: string, job_id: string, offset = 0, options: WaitOptions = {}): AsyncGenerator<JobOutput> {
    const path = `${job(handle, job_id)}/output?offset=${offset}`;
    const response = await this.#open({ method: 'GET', path, signal: options.signal });
    let hasEnded = false;
    try {
      for await (const line of createInterface({ input: response, crlfDelay: Infinity })) {
        const output = JobOutput.parse(JSON.parse(line));
        hasEnded = 'exit_status' in output;
        yield output;
      }
    } catch (error) {
      throw this.#translate(error, options.signal);
    } finally {
      response.destroy();
    }
    if (!hasEnded) throw this.#translate(response.errored, options.signal);
  }

  async signal(handle: string, job_id: string, signal: SignalName): Promise<void> {
    await this.#ask(Nothing, { method: 'POST', path: `${job(handle, job_id)}/signal`, body: { signal } });
  }

  /** spawn and link in one call; the result holds what was written, each stream up to 10 MiB. */
  async run(handle: string, body: SpawnRequest, options: WaitOptions = {}): Promise<JobResult> {
    return await this.#ask(JobResult, {
      method: 'POST',
      path: `${container(handle)}/run`,
      body,
      signal: options.signal,
    });
  }

  async netIn(handle: string, body: NetInRequest = {}): Promise<PortMapping> {
    return await this.#ask(PortMapping, { method: 'POST', path: `${container(handle)}/net_in`, body });
  }

  async netOut(handle: string, rules: EgressRule[]): Promise<void> {
    await this.#ask(Nothing, { method: 'PUT', path: `${container(handle)}/net_out`, body: { rules } });
  }

  /** Changes the limits that are named and gives all that are in force. */
  async limit(handle: string, body: LimitRequest = {}): Promise<ContainerLimits> {
    return await this.#ask(ContainerLimits, { method: 'PUT', path: `${container(handle)}/limits`, body });
  }

  /** Unpacks a tar stream below `path` in the container as vcap. Errors: path_not_found, invalid_request for a broken tar. */
  async copyIn(handle: string, path: string, tarStream: Readable): Promise<void> {
    await this.#ask(Nothing, { method: 'PUT', path: files(handle, path), upload: tarStream });
  }

  /** Which containers find and reach one another, as far as `owner` says; replaces what it said before. */
  async setNetwork(body: NetworkState): Promise<void> {
    await this.#ask(Nothing, { method: 'PUT', path: '/network', body });
  }

  /** Makes an image's layer, unpacked as it came, fit for `layers` of create; no harm when done twice. Errors: path_not_found. */
  async convertLayer(path: string): Promise<void> {
    await this.#ask(Nothing, { method: 'POST', path: '/layers', body: { path } });
  }

  /** A tar stream of `path`, as vcap may read it; entries are named from the last part of `path` on. */
  async copyOut(handle: string, path: string): Promise<Readable> {
    return await this.#open({ method: 'GET', path: files(handle, path) });
  }

  /** A process whose streams come over the socket as frames of contracts/attach.ts; the first to send is `start`. */
  async attach(handle: string): Promise<Socket> {
    return await this.#upgrade(`${container(handle)}/attach`, ATTACH_PROTOCOL);
  }

  /** A connection from inside the container's network. Errors: path_not_found when nobody answers there. */
  async dial(handle: string, target: { host: string; port: number }): Promise<Socket> {
    const query = new URLSearchParams({ host: target.host, port: String(target.port) });
    return await this.#upgrade(`${container(handle)}/dial?${query.toString()}`, DIAL_PROTOCOL);
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #ask<Schema extends z.ZodType>(schema: Schema, call: Call): Promise<z.output<Schema>> {
    const response = await this.#open(call);
    try {
      return schema.parse(await json(response));
    } catch (error) {
      throw this.#translate(error, call.signal);
    }
  }

  async #upgrade(path: string, protocol: string): Promise<Socket> {
    try {
      const upgraded = await requestUpgrade({ socketPath: this.socket_path, path }, protocol);
      if (upgraded.ok) return upgraded.socket;
      throw await errorIn(upgraded.response);
    } catch (error) {
      throw this.#translate(error, undefined);
    }
  }

  /** Sends the call and gives the reply's body if it is a success. */
  async #open(call: Call): Promise<IncomingMessage> {
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const headers: Record<string, string | number> = requestHeaders();
    if (body) Object.assign(headers, { 'content-type': 'application/json', 'content-length': body.length });
    if (call.upload) headers['content-type'] = 'application/x-tar';
    const outgoing = request({
      socketPath: this.socket_path,
      agent: this.#agent,
      method: call.method,
      path: call.path,
      headers,
      ...(call.signal ? { signal: call.signal } : {}),
    });
    try {
      const response = await answerTo(outgoing, body, call.upload);
      if (response.statusCode === 200) return response;
      throw await errorIn(response);
    } catch (error) {
      throw this.#translate(error, call.signal);
    }
  }

  #translate(error: unknown, signal: AbortSignal | undefined): unknown {
    if (error instanceof WardenError || error instanceof WardenUnreachable) return error;
    if (signal?.aborted) return signal.reason;
    if (error instanceof z.ZodError) {
      return new WardenError('internal', "warden's reply is not what the contract says", { cause: error });
    }
    const code = systemErrorCode(error);
    // An unreadable end of a body counts as no answer: the daemon went away while it wrote.
    const isAway = code !== undefined || error === null || error === undefined || error instanceof SyntaxError;
    return isAway ? new WardenUnreachable(this.socket_path, { cause: error }) : error;
  }
}

async function answerTo(outgoing: ClientRequest, body?: Buffer, upload?: Readable): Promise<IncomingMessage> {
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', reject);
  });
  if (!upload) {
    outgoing.end(body);
    return await answered;
  }
  // Warden may refuse before it has read all: its answer says more than the broken pipe that comes of it.
  const sent = pipeline(upload, outgoing);
  sent.catch(() => {});
  const response = await answered.catch(async (error: unknown) => {
    await sent;
    throw error;
  });
  return response;
}

async function errorIn(response: IncomingMessage): Promise<WardenError> {
  const { error } = WardenErrorBody.parse(await json(response));
  const code = error.code in WARDEN_ERRORS ? (error.code as WardenErrorCode) : 'internal';
  return new WardenError(code, error.message);
}

const container = (handle: string): string => `/containers/${encodeURIComponent(handle)}`;
const job = (handle: string, job_id: string): string => `${container(handle)}/jobs/${encodeURIComponent(job_id)}`;
const files = (handle: string, path: string): string => `${container(handle)}/files?path=${encodeURIComponent(path)}`;
