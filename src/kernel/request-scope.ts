import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';

/** What is carried through all that one request causes, from component to component. */
export interface RequestScope {
  /** As the router made it; each component that serves a part of it adds `::<own>`. */
  request_id: string;
  /** W3C trace context, where the request has one. */
  traceparent?: string;
}

/** How a scope travels between components, over HTTP and over NATS. */
export const REQUEST_ID_HEADER = 'x-vcap-request-id';
export const TRACE_HEADER = 'traceparent';

/**
 * The one thing of ours that is ambient: handing a request's id down through each function would put it into every signature, and
 * one that forgot it would write lines that nobody can follow.
 */
const scopes = new AsyncLocalStorage<RequestScope>();

/** The request that the running code works for; undefined for work that the platform does by itself. */
export function currentRequest(): RequestScope | undefined {
  return scopes.getStore();
}

/** For what the platform does by itself, so that it can be followed from line to line and component to component as a request can. */
export function ownWork(): RequestScope {
  return new OwnWork();
}

/** There is one for each message of the bus, and few of them say or ask anything: the id is made when it is read. */
class OwnWork implements RequestScope {
  #request_id: string | undefined;

  get request_id(): string {
    return (this.#request_id ??= `own-${randomUUID()}`);
  }
}

/** Runs work, and all that it begins, for a request; with undefined for none. */
export function forRequest<T>(scope: RequestScope | undefined, work: () => T): T {
  return scope === undefined ? scopes.exit(work) : scopes.run(scope, work);
}

/** Header lines for what is asked of another component. */
export function requestHeaders(): Record<string, string> {
  const scope = scopes.getStore();
  if (scope === undefined) return {};
  return {
    [REQUEST_ID_HEADER]: scope.request_id,
    ...(scope.traceparent !== undefined && { [TRACE_HEADER]: scope.traceparent }),
  };
}

/** The scope that headers of HTTP carry. */
export function scopeIn(headers: Readonly<Record<string, string | string[] | undefined>>): RequestScope | undefined {
  const request_id = headers[REQUEST_ID_HEADER];
  const traceparent = headers[TRACE_HEADER];
  if (typeof request_id !== 'string') return undefined;
  return { request_id, ...(typeof traceparent === 'string' && { traceparent }) };
}
