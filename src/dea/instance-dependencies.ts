import type { LogEmitter } from '#bus/log-emitter.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import type { ExitReason } from '#contracts/dea.ts';
import type { WardenClient } from '#http/warden-client.ts';
import type { DeaConfig } from './config.ts';
import type { LayerCache } from './docker/layer-cache.ts';
import type { DropletCache } from './droplet-cache.ts';
import type { Identities } from './identity/identities.ts';
import type { Instance } from './instance.ts';
import type { ServiceBindings } from './service-bindings.ts';

export interface InstanceExit {
  reason: ExitReason;
  exit_status: number;
  exit_description: string;
  last_output?: string[];
}

export interface InstanceDependencies {
  dea: { id: string; ip: string };
  settings: DeaConfig['instance'];
  warden: WardenClient;
  droplets: DropletCache;
  images: LayerCache;
  bindings: ServiceBindings;
  identities?: Identities | undefined;
  emitter: LogEmitter;
  clock: Clock;
  log: Log;
  /** State, routes or readiness changed. Resolves when the change is on disk. */
  changed: (instance: Instance) => Promise<void>;
  /** It does not run any more; called once, before its container is cleared away. */
  exited: (instance: Instance, exit: InstanceExit) => void;
}
