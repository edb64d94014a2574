import { STATUS_CODES } from 'node:http';

/** What the router answers itself, in Cloud Foundry's words. `routerError` is the value of X-Cf-RouterError. */
export interface Answer {
  status: number;
  message: string;
  routerError?: string;
  /** Further field lines, each with its line end. */
  fields?: string;
  /** Instead of the usual text. */
  body?: string;
}

const BRIEF_CACHE = 'Cache-Control: public,max-age=2\r\n';
const NO_CACHE = 'Cache-Control: no-cache, no-store\r\n';

export const emptyHost: Answer = {
  status: 400,
  message: 'Request had empty Host header',
  routerError: 'empty_host',
  fields: BRIEF_CACHE,
};
export const headTooLarge: Answer = {
  status: 431,
  message: 'Request Header Fields Too Large',
  routerError: 'max-request-size-exceeded',
};
export const invalidAppInstance: Answer = {
  status: 400,
  message: 'Invalid X-CF-App-Instance Header',
  routerError: 'invalid_cf_app_instance_header',
  fields: NO_CACHE,
};
export const invalidProcessInstance: Answer = {
  status: 400,
  message: 'Invalid X-CF-Process-Instance Header',
  routerError: 'invalid_cf_process_instance_header',
  fields: NO_CACHE,
};
export const unknownFailure: Answer = { status: 502, message: 'Unknown failure', routerError: 'unknown_failure' };
export const headTimeout: Answer = { status: 408, message: 'The request did not arrive in time.' };

/** `host` in these texts is the Host field as it was sent, port and all. */
export function unknownRoute(host: string): Answer {
  return {
    status: 404,
    message: `Requested route ('${host}') does not exist.`,
    routerError: 'unknown_route',
    fields: NO_CACHE,
  };
}

/** `kind` is empty or `process `: what the guid is of. */
export function unknownInstance(wish: { kind: string; guid: string; index: string | undefined }, host: string): Answer {
  const { kind, guid, index } = wish;
  const instance = index === undefined ? 'instance' : `instance ('${index}')`;
  return {
    status: 400,
    message: `Requested ${instance} with ${kind}guid ('${guid}') does not exist for route ('${host}')`,
    routerError: 'unknown_route',
    fields: NO_CACHE,
  };
}

export function connectionLimit(host: string): Answer {
  return {
    status: 503,
    message: `Requested route ('${host}') has reached the connection limit.`,
    routerError: 'Connection Limit Reached',
  };
}

export function noEndpoints(host: string): Answer {
  return {
    status: 503,
    message: `Requested route ('${host}') has no available endpoints.`,
    routerError: 'no_endpoints',
    fields: BRIEF_CACHE,
  };
}

export function malformed(status: number, fault: string): Answer {
  return { status, message: `The request was refused: ${fault}.` };
}

/** Why a registered endpoint did not serve. */
export type BackendFault =
  | 'dial'
  | 'dial_timeout'
  | 'reset'
  | 'malformed'
  | 'timeout'
  | 'tls_handshake'
  | 'tls_untrusted'
  | 'tls_hostname_mismatch'
  | 'tls_client_cert_required'
  | 'upgrade';

const CAUSES: Record<BackendFault, { status: number; cause: string }> = {
  dial: { status: 502, cause: 'dial tcp: connection refused' },
  dial_timeout: { status: 502, cause: 'dial tcp: i/o timeout' },
  reset: { status: 502, cause: 'EOF' },
  malformed: { status: 502, cause: 'malformed HTTP response' },
  timeout: { status: 502, cause: 'context deadline exceeded' },
  tls_handshake: { status: 525, cause: 'tls: handshake failure' },
  tls_untrusted: { status: 526, cause: 'x509: certificate signed by unknown authority' },
  tls_hostname_mismatch: { status: 503, cause: 'x509: certificate is not valid for the instance' },
  tls_client_cert_required: { status: 496, cause: 'remote error: tls: bad certificate' },
  upgrade: { status: 502, cause: 'unexpected upgrade' },
};

export function endpointFailure(fault: BackendFault): Answer {
  const { status, cause } = CAUSES[fault];
  return {
    status,
    message: 'Registered endpoint failed to handle the request.',
    routerError: `endpoint_failure (${cause})`,
  };
}

export function reasonOf(status: number): string {
  if (status === 496) return 'SSL Certificate Required';
  if (status === 499) return 'Client Closed Request';
  if (status === 525) return 'SSL Handshake Failed';
  if (status === 526) return 'Invalid SSL Certificate';
  return STATUS_CODES[status] ?? 'Unknown';
}

/** The body that goes with it: `<code> <StatusText>: <message>\n`. */
export function bodyOf(answer: Answer): string {
  return answer.body ?? `${answer.status} ${reasonOf(answer.status)}: ${answer.message}\n`;
}

/** It as an HTTP/1.1 response; `connection` is a field line or empty. */
export function answerText(
  answer: Answer,
  how: { requestId: string | undefined; connection: string; isHead: boolean },
): string {
  const body = bodyOf(answer);
  const error = answer.routerError === undefined ? '' : `X-Cf-RouterError: ${answer.routerError}\r\n`;
  const requestId = how.requestId === undefined ? '' : `X-Vcap-Request-Id: ${how.requestId}\r\n`;
  return (
    `HTTP/1.1 ${answer.status} ${reasonOf(answer.status)}\r\n${answer.fields ?? ''}Content-Length: ${Buffer.byteLength(body)}\r\n` +
    `Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n${error}${requestId}${how.connection}\r\n${how.isHead ? '' : body}`
  );
}
