import type { z } from 'zod';
import type { RouteMessage } from '#contracts/router.ts';

/** A plan as the catalog shows it. */
export interface Plan {
  id: string;
  name: string;
  description: string;
  free: boolean;
  metadata?: Record<string, unknown>;
  schemas?: Record<string, unknown>;
}

/** A service as the catalog shows it, its plans aside. Source: OSB 2.17, "Catalog Management". */
export interface ServiceEntry {
  id: string;
  name: string;
  description: string;
  tags: readonly string[];
  requires?: readonly string[];
  bindable: true;
  plan_updateable: boolean;
  instances_retrievable: true;
  bindings_retrievable: true;
  metadata: Record<string, unknown>;
  /** Who its dashboard is to UAA. */
  dashboard_client?: { id: string; secret: string; redirect_uri: string };
}

export type JsonObject = Record<string, unknown>;

export interface Instance {
  guid: string;
  plan: Plan;
  parameters: JsonObject;
  /** What the service noted of it at its making. */
  details: JsonObject;
}

export interface Binding {
  guid: string;
  parameters: JsonObject;
}

/** What the platform is given of a binding. */
export interface Access {
  credentials: JsonObject;
  volume_mounts?: readonly JsonObject[];
  syslog_drain_url?: string;
}

export interface Change {
  /** What the instance is now. */
  instance: Instance;
  plan: Plan;
  /** Those of this change alone. */
  parameters: JsonObject;
  bindings: readonly Binding[];
}

export type Slow = 'provision' | 'update' | 'deprovision';

/**
 * One kind of service, as its folder knows it. Every verb may be called again with the same arguments when whoever called it died:
 * it then makes or ends what is left to be. Errors: OsbError for what the user did wrong; all else is a fault of ours.
 */
export interface Service extends AsyncDisposable {
  readonly entry: ServiceEntry;
  readonly plans: readonly Plan[];
  /** What may be said at the making and at a change; checked before anything is done. */
  readonly parameters: { provision: z.ZodType<JsonObject>; update: z.ZodType<JsonObject>; bind: z.ZodType<JsonObject> };
  /** Whether it takes longer than a request should. */
  isSlow?(verb: Slow, parameters: JsonObject): boolean;
  /** Brings up what instances that are there need. */
  resume(instances: readonly Instance[]): Promise<void>;
  /** Gives what is to be noted in `details`. */
  provision(instance: Instance): Promise<JsonObject>;
  /** Gives what is to be noted in `details`. */
  update(change: Change): Promise<JsonObject>;
  deprovision(instance: Instance): Promise<void>;
  bind(instance: Instance, binding: Binding): Promise<Access>;
  /** The same again of a binding that is there, without making anything. */
  access(instance: Instance, binding: Binding): Access;
  unbind(instance: Instance, binding: Binding): Promise<void>;
  /** Shown as the instance's parameters, beside those that were given. */
  describe?(instance: Instance): Promise<JsonObject>;
  dashboardUrl?(instance: Instance): string | undefined;
  /** Where its dashboard is, for routers. */
  readonly routes?: readonly RouteMessage[];
  /** Whether all that it keeps running runs. */
  isHealthy(): boolean;
}
