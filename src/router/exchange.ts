/**
 * One request's way through the router: it finds the route, chooses an endpoint, tries again where nothing can have been
 * processed twice, and counts and logs the end. It knows no bytes of the client's side; the front does.
 */
import { randomUUID } from 'node:crypto';
import {
  type Answer,
  type BackendFault,
  connectionLimit,
  emptyHost,
  endpointFailure,
  noEndpoints,
  unknownRoute,
} from './answers.ts';
import type { Backend, BackendUser, ResponsePiece } from './backend.ts';
import type { Core } from './core.ts';
import { countExchange } from './count-exchange.ts';
import type { Endpoint } from './endpoint.ts';
import { requestHeadText } from './forward-request.ts';
import { readInstanceWish } from './instance-header.ts';
import type { RequestHead } from './request-head.ts';
import type { ResponseHead } from './response-head.ts';
import { routePolicyDenial } from './route-policies.ts';
import { invalidSignature, routeServiceUnsupported, upgradeUnsupported } from './route-service.ts';
import type { Route } from './route.ts';
import { wantedInstance } from './sticky.ts';
import { traceLines } from './trace.ts';
import { clientCertLines } from './client-cert.ts';

/** The client's side of an exchange, whatever protocol it speaks. */
export interface Front {
  readonly remoteAddress: string;
  /** `address:port`. */
  readonly remoteText: string;
  /** `HTTP/1.1`… for the log. */
  readonly protocol: string;
  readonly isTls: boolean;
  /** The client's certificate in base64 DER when it proved one, else empty. */
  readonly clientCert: string;
  /** Whether the whole body is at hand, so that sending it again is possible. */
  readonly hasWholeBody: boolean;
  /** Sends the head with whatever of the body is there, and the rest as it comes. */
  sendRequest(headText: string): void;
  interim(head: ResponseHead): void;
  respond(head: ResponseHead, piece: ResponsePiece): void;
  bytes(bytes: Buffer, end: number): void;
  trailers(lines: string): void;
  /** The backend closed; whether that was the proper end of the response. */
  backendEnded(isClean: boolean): boolean;
  backendDrained(): void;
  answer(answer: Answer): void;
  /** The response was begun and cannot be completed. */
  cut(): void;
}

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);
const HEALTH_PROBE = 'HTTP-Monitor/1.1';
const TIMED_LOOKUPS = 16;

export class Exchange implements BackendUser {
  readonly core: Core;
  readonly front: Front;
  readonly head: RequestHead;
  readonly startedAt_ms: number;
  readonly requestId: string = randomUUID();
  readonly deadline_ms: number;
  route: Route | undefined;
  endpoint: Endpoint | undefined;
  backend: Backend | undefined;
  wantedInstance: string | undefined;
  forwardedProto: string;
  /** What the backend is asked for; a route service is asked for something else than the app. */
  target: string;
  hostLine: string;
  extraLines = '';
  status = 0;
  bytesIn = 0;
  bytesOut = 0;
  failedAttempts = 0;
  routerError = '';
  took_ms = 0;
  isDebugged = false;
  /** Whether its route's service is asked, not the app. */
  isForService = false;
  /** Set once the request, or a part of it, has been handed to the backend's socket. */
  isSent = false;
  isResponding = false;
  isOver = false;
  readonly #begun_ms: number;
  #sent_ms = 0;
  #answered_ms = 0;
  #tried: Endpoint[] | undefined;
  #isPinned = false;
  #isHolding = false;

  constructor(core: Core, front: Front, head: RequestHead) {
    this.core = core;
    this.front = front;
    this.head = head;
    this.target = head.target;
    this.hostLine = head.hostLine;
    this.startedAt_ms = core.now_ms();
    this.#begun_ms = core.monotonic_ms();
    this.deadline_ms = this.#begun_ms + core.config.timeouts.endpoint_s * 1000;
    const proto = front.isTls ? 'https' : 'http';
    const mode = core.config.forwarded_proto;
    if (mode === 'https') this.forwardedProto = 'https';
    else this.forwardedProto = mode === 'keep' && head.forwardedProto !== '' ? head.forwardedProto : proto;
  }

  get mayStick(): boolean {
    return this.wantedInstance !== undefined || this.core.config.sticky_session_cookies.length > 0;
  }

  /** The time that was not the backend's, ms. */
  get ownTime_ms(): number {
    return this.#sent_ms === 0 || this.#answered_ms === 0
      ? this.took_ms
      : this.took_ms - (this.#answered_ms - this.#sent_ms);
  }

  start(): void {
    const { core, head } = this;
    core.counters.all.requests++;
    if (head.userAgent === HEALTH_PROBE) return this.#answerProbe();
    // Some load balancers write their own address into a request that came without Host: it is not to be shown to anybody.
    if (head.host === '' || head.host === this.front.remoteAddress) {
      // Whoever leaves Host out of HTTP/1.1 speaks another protocol than we do.
      head.mayKeepAlive = false;
      return this.reject(emptyHost);
    }
    const route = this.#lookup();
    if (head.appInstance !== '' || head.processInstance !== '') {
      const wish = readInstanceWish(route, head);
      if ('answer' in wish) return this.reject(wish.answer);
      this.#isPinned = true;
      this.endpoint = wish.endpoint;
    }
    if (route === undefined) return this.reject(unknownRoute(head.hostLine));
    this.route = route;
    if (!this.#isPinned && head.cookie !== '') {
      this.wantedInstance = wantedInstance(head.cookie, core.config.sticky_session_cookies);
    }
    const denial = route.policies && routePolicyDenial(route.policies, this.front.clientCert, head.hostLine);
    if (denial) return this.reject(denial);
    if (route.route_service_url !== '' && !this.#mayPassRouteService(route)) return;
    const { debug_key } = core.config.tracing;
    this.isDebugged = head.vcapTrace !== '' && head.vcapTrace === debug_key;
    this.extraLines += traceLines(head, this.requestId, core.config.tracing) + clientCertLines(this);
    this.#attempt(false);
  }

  /** Answers what was refused before it reached any app. */
  reject(answer: Answer): void {
    this.core.counters.rejected++;
    this.#answer(answer);
  }

  /** Answers a request whose body proved malformed after its head had been sent on. */
  refuse(answer: Answer): void {
    if (this.isOver) return;
    this.backend = undefined;
    this.#leaveEndpoint();
    this.reject(answer);
  }

  onBackendReady(connection: Backend): void {
    this.backend = connection;
    this.isSent = true;
    this.#sent_ms = this.core.monotonic_ms();
    this.front.sendRequest(requestHeadText(this, connection.endpoint.use.headerLines));
  }

  onInterim(head: ResponseHead): void {
    this.front.interim(head);
  }

  onResponse(head: ResponseHead, piece: ResponsePiece): void {
    this.#answered_ms = this.core.monotonic_ms();
    if (head.status === 101 && this.head.upgrade === '') {
      this.backend?.destroy();
      return this.#failed('upgrade');
    }
    this.isResponding = true;
    this.status = head.status;
    this.front.respond(head, piece);
  }

  onBackendBytes(bytes: Buffer, end: number): void {
    this.front.bytes(bytes, end);
  }

  onBackendTrailers(lines: string): void {
    this.front.trailers(lines);
  }

  onBackendDrain(): void {
    this.front.backendDrained();
  }

  onBackendClosed(connection: Backend, fault: BackendFault, isClean: boolean): void {
    if (this.isOver) return;
    if (this.isResponding) {
      if (this.front.backendEnded(isClean)) return;
      this.backend?.destroy();
      this.#leaveEndpoint();
      if (fault === 'timeout' || !isClean) this.routerError = 'endpoint_failure (EOF)';
      this.front.cut();
      this.finish();
      return;
    }
    const wasUsed = connection.served > 0;
    this.#attemptFailed(connection, fault, wasUsed);
  }

  /** The response is complete (or nobody waits for it): the connection goes back, the request is counted and logged. */
  complete(mayReuse: boolean): void {
    const backend = this.backend;
    this.backend = undefined;
    this.#leaveEndpoint();
    if (backend !== undefined) this.core.backends.release(backend, mayReuse);
    this.finish();
  }

  /** The client went away before its response was complete. */
  clientGone(): void {
    if (this.isOver) return;
    this.backend?.destroy();
    this.backend = undefined;
    this.#leaveEndpoint();
    if (!this.isResponding) this.status = 499;
    this.finish();
  }

  /** Ran out of its time. */
  expire(): void {
    if (this.isOver) return;
    this.backend?.destroy();
    this.backend = undefined;
    if (!this.isResponding) return this.#failed('timeout');
    this.#leaveEndpoint();
    this.routerError = 'endpoint_failure (context deadline exceeded)';
    this.front.cut();
    this.finish();
  }

  /** Gives up on the backend with this fault; the client gets the answer if it has none yet. */
  fail(fault: BackendFault): void {
    this.backend?.destroy();
    this.#failed(fault);
  }

  finish(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.took_ms = this.core.monotonic_ms() - this.#begun_ms;
    countExchange(this);
    this.core.accessLog.write(this);
  }

  /** Every so manyth look-up is timed: reading the clock takes as long as the look-up. */
  #lookup(): Route | undefined {
    const { table, counters } = this.core;
    if (counters.all.requests % TIMED_LOOKUPS !== 1) return table.lookup(this.head.host, this.head.target);
    const begun_ns = process.hrtime.bigint();
    const route = table.lookup(this.head.host, this.head.target);
    counters.lookup_ns.add(Number(process.hrtime.bigint() - begun_ns));
    return route;
  }

  /**
   * Sends a request by way of its route's service, unless it has been there. False when it has been answered. The answer's endpoint
   * is then the service, or who serves it behind this very router.
   */
  #mayPassRouteService(route: Route): boolean {
    const { core, head } = this;
    const services = core.routeServices;
    const refusal =
      services === undefined ? routeServiceUnsupported : head.upgrade === '' ? undefined : upgradeUnsupported;
    if (services === undefined || refusal !== undefined) {
      this.reject(refusal ?? routeServiceUnsupported);
      return false;
    }
    const forwardedUrl = `${this.forwardedProto}://${head.hostLine}${head.target}`;
    if (head.proxySignature !== '') {
      // The service may come back by another scheme than the client came by.
      const answer = services.verify(head, head.forwardedUrl, this.startedAt_ms);
      const isSamePlace = head.forwardedUrl.replace(/^https?:/, '') === forwardedUrl.replace(/^https?:/, '');
      if (answer === undefined && isSamePlace) return true;
      this.reject(answer ?? invalidSignature);
      return false;
    }
    const call = services.call(route.route_service_url, forwardedUrl, this.startedAt_ms);
    this.target = call.target;
    this.hostLine = call.hostLine;
    this.extraLines = call.lines;
    this.wantedInstance = undefined;
    this.isForService = true;
    const own = services.hairpin ? core.table.lookup(call.host, call.target) : undefined;
    if (own === undefined) {
      this.#isPinned = true;
      this.endpoint = call.endpoint;
    } else this.route = own;
    return true;
  }

  #attempt(isFresh: boolean): void {
    const { core, route } = this;
    if (route === undefined) return;
    if (!this.#isPinned) {
      const chosen = route.choose(core.config.load_balancing, {
        ...(this.wantedInstance !== undefined && { preferred: this.wantedInstance }),
        tried: this.#tried,
        max_conns: core.config.limits.max_conns_per_backend,
        now_ms: this.#begun_ms,
      });
      if (chosen === 'no_endpoints') return this.reject(noEndpoints(this.head.hostLine));
      if (chosen === 'connection_limit') {
        core.counters.connectionLimit++;
        return this.reject(connectionLimit(this.head.hostLine));
      }
      this.endpoint = chosen;
    }
    const endpoint = this.endpoint;
    if (endpoint === undefined) return;
    endpoint.active++;
    this.#isHolding = true;
    const connection = core.backends.acquire(endpoint, this, isFresh);
    this.backend = connection;
    if (connection.isReady) this.onBackendReady(connection);
  }

  #attemptFailed(connection: Backend, fault: BackendFault, wasUsed: boolean): void {
    const endpoint = connection.endpoint;
    this.backend = undefined;
    this.#leaveEndpoint();
    this.failedAttempts++;
    const isBeforeSending = !this.isSent;
    // A kept connection that broke says nothing of the endpoint; a new one that did not come about says it is not there.
    if (isBeforeSending || !wasUsed) this.#takeOutOfRotation(endpoint, fault);
    const mayRepeat = isBeforeSending || (fault === 'reset' && this.#isRepeatable());
    if (!mayRepeat || this.failedAttempts >= this.core.config.max_attempts) return this.#failed(fault);
    if (!wasUsed) {
      (this.#tried ??= []).push(endpoint);
      const isOnlyOne = this.#isPinned || (this.route?.size ?? 0) <= this.#tried.length;
      if (isOnlyOne) return this.#failed(fault);
    }
    this.isSent = false;
    this.#attempt(wasUsed);
  }

  /** Reading twice does no harm, and nothing of a body is lost. */
  #isRepeatable(): boolean {
    return !this.head.hasBody && (IDEMPOTENT.has(this.head.method) || this.head.hasIdempotencyKey);
  }

  #takeOutOfRotation(endpoint: Endpoint, fault: BackendFault): void {
    endpoint.failedUntil_ms = this.core.monotonic_ms() + this.core.config.failed_endpoint_rest_s * 1000;
    if (fault === 'tls_hostname_mismatch') {
      this.core.counters.invalidId++;
      this.core.table.condemn(endpoint);
    } else if (fault === 'tls_untrusted') this.core.counters.invalidTlsCert++;
    else if (fault === 'tls_handshake') this.core.counters.tlsHandshakeFailed++;
    this.core.log.warn({ address: endpoint.address, app: endpoint.app, fault }, 'backend failed');
  }

  #failed(fault: BackendFault): void {
    const answer = endpointFailure(fault);
    if (answer.status === 502) this.core.counters.badGateways++;
    if (this.head.upgrade !== '') this.core.counters.websocketFailures++;
    this.#answer(answer);
  }

  #leaveEndpoint(): void {
    if (this.endpoint === undefined || !this.#isHolding) return;
    this.endpoint.active--;
    this.#isHolding = false;
  }

  #answerProbe(): void {
    this.#answer(
      this.core.isHealthy
        ? { status: 200, message: 'ok', body: 'ok\n' }
        : { status: 503, message: 'draining', body: '' },
    );
  }

  #answer(answer: Answer): void {
    this.status = answer.status;
    this.routerError = answer.routerError ?? '';
    this.isResponding = true;
    this.front.answer(answer);
    this.finish();
  }
}
