import type { z } from 'zod';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';

/** One component as `ingot run` starts it: its configuration's schema and its `start`. */
export interface Role<Schema extends z.ZodType = z.ZodType> {
  schema: Schema;
  start: (config: z.output<Schema>, context: ComponentContext) => Promise<RunningComponent>;
}

/**
 * Every role by name, loaded only when it is asked for: a router's process has no business holding the database driver in
 * memory.
 */
export const ROLES = {
  router: async () => role((await import('#router/config.ts')).RouterConfig, (await import('#router/main.ts')).start),
  uaa: async () => role((await import('#uaa/config.ts')).UaaConfig, (await import('#uaa/main.ts')).start),
  'cloud-controller': async () =>
    role(
      (await import('#cloud-controller/config.ts')).CloudControllerConfig,
      (await import('#cloud-controller/main.ts')).start,
    ),
  'health-manager': async () =>
    role(
      (await import('#health-manager/config.ts')).HealthManagerConfig,
      (await import('#health-manager/main.ts')).start,
    ),
  dea: async () => role((await import('#dea/config.ts')).DeaConfig, (await import('#dea/main.ts')).start),
  warden: async () => role((await import('#warden/config.ts')).WardenConfig, (await import('#warden/main.ts')).start),
  loggregator: async () =>
    role((await import('#loggregator/config.ts')).LoggregatorConfig, (await import('#loggregator/main.ts')).start),
  brokers: async () =>
    role((await import('#brokers/config.ts')).BrokersConfig, (await import('#brokers/main.ts')).start),
  'ssh-proxy': async () =>
    role((await import('#ssh-proxy/config.ts')).SshProxyConfig, (await import('#ssh-proxy/main.ts')).start),
  collector: async () =>
    role((await import('#collector/config.ts')).CollectorConfig, (await import('#collector/main.ts')).start),
} as const;
export type RoleName = keyof typeof ROLES;

export const isRoleName = (name: string): name is RoleName => Object.hasOwn(ROLES, name);

function role<Schema extends z.ZodType>(schema: Schema, start: Role<Schema>['start']): Role {
  // The pair is erased to be listed with others; what the schema gives is what its own `start` takes.
  return { schema, start: start as Role['start'] };
}
