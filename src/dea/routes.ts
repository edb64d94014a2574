import { routerRegister, routerStart, routerUnregister, type RouteMessage } from '#contracts/router.ts';
import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';
import { speaksTls } from './identity/identities.ts';
import type { Instance } from './instance.ts';

export interface RegisteringDea {
  id: string;
  ip: string;
  index: number;
  zone: string;
  isolation_segment?: string | undefined;
}

/**
 * Keeps routers told of the instances here: at once on each change, at intervals, when a router starts, and when the bus is
 * back. What was said last of an instance is remembered, so that only what is gone from it is unregistered.
 */
export class Routes implements Disposable {
  readonly #bus: Bus;
  readonly #dea: RegisteringDea;
  readonly #told = new Map<string, RouteMessage[]>();
  readonly #stack = new DisposableStack();

  constructor(options: { bus: Bus; clock: Clock; dea: RegisteringDea; register_s: number }) {
    this.#bus = options.bus;
    this.#dea = options.dea;
    this.#stack.use(options.bus.subscribe(routerStart, () => this.registerAll()));
    this.#stack.use(options.bus.onReconnect(() => this.registerAll()));
    this.#stack.use(options.clock.every(options.register_s * 1000, () => this.registerAll()));
  }

  /** Brings the routers' knowledge of one instance to what it is now. */
  update(instance: Instance): void {
    const before = this.#told.get(instance.start.instance) ?? [];
    const after = instance.isRoutable ? this.#messages(instance) : [];
    const kept = new Set(after.flatMap((message) => message.uris));
    for (const message of before) {
      const gone = message.uris.filter((uri) => !kept.has(uri));
      if (gone.length > 0) this.#bus.publish(routerUnregister, { ...message, uris: gone });
    }
    for (const message of after) this.#bus.publish(routerRegister, message);
    if (after.length > 0) this.#told.set(instance.start.instance, after);
    else this.#told.delete(instance.start.instance);
  }

  /** It is gone: no router is to send anything its way. */
  remove(instance: Instance): void {
    for (const message of this.#told.get(instance.start.instance) ?? []) this.#bus.publish(routerUnregister, message);
    this.#told.delete(instance.start.instance);
  }

  /** Stops telling; what routers know, they keep, since the instances serve on without this process. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  /** All again, for those who may have missed it. */
  registerAll(): void {
    for (const message of [...this.#told.values()].flat()) this.#bus.publish(routerRegister, message);
  }

  /** One message for each combination of options among the routes, since a message has only one. */
  #messages(instance: Instance): RouteMessage[] {
    const { start, network, has_identity } = instance.record;
    const port = network?.ports[0]?.host_port;
    if (port === undefined || start.uris.length === 0) return [];
    const optionsOf = (uri: string) => start.route_options?.[uri] ?? {};
    const alike = Map.groupBy(start.uris, (uri) => JSON.stringify(optionsOf(uri)));
    return [...alike.values()].map((uris) => ({
      ...registered(optionsOf(uris[0] ?? '')),
      dea: this.#dea.id,
      app: start.app,
      uris,
      host: this.#dea.ip,
      // Then the router asks for its certificate, and a port that has become another's answers nobody.
      ...(has_identity && speaksTls(start) ? { tls_port: port, server_cert_domain_san: start.instance } : { port }),
      tags: {
        component: `dea-${this.#dea.index}`,
        app_id: start.app,
        app_name: start.name,
        space_name: start.space_name,
        organization_name: start.organization_name,
        ...idsOf(start.vcap_application),
        process_id: start.droplet,
        process_type: start.process_type,
        process_instance_id: start.instance,
        instance_id: String(start.index),
      },
      private_instance_id: start.instance,
      private_instance_index: String(start.index),
      availability_zone: this.#dea.zone,
      ...(this.#dea.isolation_segment !== undefined && { isolation_segment: this.#dea.isolation_segment }),
    }));
  }
}

/** Of the space and the organization, as the cloud controller says them to the app as well. */
function idsOf(vcap_application: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    ['space_id', 'organization_id'].flatMap((name) => {
      const id = vcap_application[name];
      return typeof id === 'string' ? [[name, id] as const] : [];
    }),
  );
}

type RouteOptions = NonNullable<Instance['start']['route_options']>[string];

function registered({ route_service_url, ...options }: RouteOptions): Partial<RouteMessage> {
  return { ...(Object.keys(options).length > 0 && { options }), ...(route_service_url && { route_service_url }) };
}
