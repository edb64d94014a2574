import type { RouteMessage } from '#contracts/router.ts';
import type { BackendConnection } from './backend-connection.ts';
import type { Http2Session } from './http2-backend.ts';

/** What an endpoint is by; two registrations that agree in all of it are the same endpoint. */
export interface EndpointFacts {
  host: string;
  port: number;
  isTls: boolean;
  isHttp2: boolean;
  app: string;
  instance_id: string;
  instance_index: string;
  process_id: string;
  server_cert_domain_san: string;
}

/** What sending requests to an endpoint needs. */
class Use {
  /** Quiet connections, the one used last at the end. */
  readonly idle: BackendConnection[] = [];
  /** The session to it, when it speaks HTTP/2. */
  http2: Http2Session | undefined;
  /** Field lines that tell the app which of its instances was meant. */
  readonly headerLines: string;
  /** Its part of an access log line. */
  readonly logText: string;

  constructor({ app, identity, instance_id, instance_index }: Endpoint) {
    const index = instance_index === '' ? '' : `X-CF-InstanceIndex: ${fieldText(instance_index)}\r\n`;
    const application = app === '' ? '' : `X-CF-ApplicationID: ${fieldText(app)}\r\n`;
    this.headerLines = flat(`${application}X-CF-InstanceID: ${fieldText(identity)}\r\n${index}`);
    const text = `app_id:"${app || '-'}" app_index:"${instance_index || '-'}" instance_id:"${instance_id || '-'}"`;
    this.logText = flat(fieldText(text));
  }
}

const sharedTexts = new Map<string, string>();
const MAX_SHARED_TEXTS = 20_000;

/** Where requests go: one instance of an app, or a component. Shared by all routes that lead to it. */
export class Endpoint {
  readonly port: number;
  /** `host:port`. */
  readonly address: string;
  readonly isTls: boolean;
  readonly isHttp2: boolean;
  readonly app: string;
  readonly instance_id: string;
  readonly instance_index: string;
  readonly process_id: string;
  readonly server_cert_domain_san: string;
  tags: Record<string, string> | undefined;
  isolation_segment = '';
  /** Routes that hold it; at none it is forgotten. */
  routes = 0;
  /** Requests under way, for least-connection and the connection limit. */
  active = 0;
  /** Monotonic ms until which it is out of rotation; 0 when it is in. */
  failedUntil_ms = 0;
  /** Set when it proved to be another than its certificate should say, or its address was taken by another instance. */
  isGone = false;
  #use: Use | undefined;

  constructor(facts: EndpointFacts, address: string) {
    this.port = facts.port;
    this.address = address;
    this.isTls = facts.isTls;
    this.isHttp2 = facts.isHttp2;
    this.app = facts.app;
    this.instance_id = facts.instance_id;
    this.instance_index = facts.instance_index;
    this.process_id = facts.process_id;
    this.server_cert_domain_san = facts.server_cert_domain_san;
  }

  /** Not kept beside the address: there are a million of these. */
  get host(): string {
    const host = this.address.slice(0, this.address.lastIndexOf(':'));
    return host.startsWith('[') ? host.slice(1, -1) : host;
  }

  /** What only those have that are sent requests, which of a million endpoints are few. */
  get use(): Use {
    return (this.#use ??= new Use(this));
  }

  /** Undefined while no request was sent. */
  get usedSoFar(): Use | undefined {
    return this.#use;
  }

  /** The kind of registrant it is counted under. */
  get component(): string {
    return this.tags?.['component'] ?? '';
  }

  /** What the sticky cookie and X-CF-InstanceID call it. */
  get identity(): string {
    return this.instance_id === '' ? this.address : this.instance_id;
  }

  is(facts: EndpointFacts): boolean {
    return (
      this.instance_id === facts.instance_id &&
      this.app === facts.app &&
      this.instance_index === facts.instance_index &&
      this.process_id === facts.process_id &&
      this.isTls === facts.isTls &&
      this.isHttp2 === facts.isHttp2 &&
      this.server_cert_domain_san === facts.server_cert_domain_san
    );
  }
}

/** Facts of a registration; undefined when it names no port. */
export function factsOf(message: RouteMessage): EndpointFacts | undefined {
  const port = message.tls_port ?? message.port;
  if (port === undefined || message.host === '') return undefined;
  return {
    host: message.host,
    port,
    isTls: message.tls_port !== undefined,
    isHttp2: message.protocol === 'http2',
    app: message.app ?? '',
    instance_id: message.private_instance_id ?? '',
    instance_index: message.private_instance_index ?? '',
    process_id: message.tags?.['process_id'] ?? '',
    server_cert_domain_san: message.server_cert_domain_san ?? '',
  };
}

/**
 * The tags to keep of a registration: those held already if they are equal, else with each text kept once. An instance's guid stands
 * in its registration four times, its space's name in thousands.
 */
export function tagsToKeep(
  held: Record<string, string> | undefined,
  said: Record<string, string> | undefined,
  { app, instance_id, process_id }: EndpointFacts,
): Record<string, string> | undefined {
  if (said === undefined || (held !== undefined && isEqual(held, said))) return said && held;
  for (const [name, text] of Object.entries(said)) {
    said[name] =
      text === app ? app : text === instance_id ? instance_id : text === process_id ? process_id : shared(text);
  }
  return said;
}

function isEqual(a: Record<string, string>, b: Record<string, string>): boolean {
  let names = 0;
  for (const name in a) {
    if (a[name] !== b[name]) return false;
    names++;
  }
  return names === Object.keys(b).length;
}

function shared(text: string): string {
  const known = sharedTexts.get(text);
  if (known !== undefined) return known;
  if (sharedTexts.size >= MAX_SHARED_TEXTS) sharedTexts.clear();
  sharedTexts.set(text, text);
  return text;
}

export function addressOf(host: string, port: number): string {
  return flat(host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
}

/** A text put together stays a tree of its parts: what is kept, or written often, is made one piece. */
function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/** Registrants are trusted, but a line break in an id must not become a line of a head. */
function fieldText(value: string): string {
  return value.replaceAll(/[^\t\x20-\x7e]/g, '');
}
