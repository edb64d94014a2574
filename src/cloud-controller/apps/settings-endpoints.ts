import type { FastifyInstance } from 'fastify';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { SERVICE_BINDING_PATHS } from '#contracts/dea.ts';
import { parseBody } from '../api/body.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { findDroplet } from '../droplets/store.ts';
import { presentDroplet } from '../droplets/presenter.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { loadRoutes, loadVariableGroup } from '../runtime/start-facts.ts';
import { vcapApplication } from '../runtime/start-message.ts';
import { loadVcapServices, type VcapServices } from '../service-credential-bindings/vcap-services.ts';
import { findProcessOfType } from '../processes/store.ts';
import { requireNoDeployment } from '../deployments/active.ts';
import { seeApp } from './policy.ts';
import { assignDroplet, carryOut, recordAppEvent } from './lifecycle.ts';
import { presentDropletRelationship } from './presenter.ts';
import { AssignDroplet, mergeEnvironment, UpdateEnvironment, UpdateFeature } from './schema.ts';
import { type FoundApp, updateApp } from './store.ts';

type ByGuid = { Params: { guid: string } };

/** What belongs to an app and is no resource of its own: droplet, environment, features, permissions. */
export function registerAppSettingEndpoints(server: FastifyInstance, deps: Deps): void {
  registerDropletEndpoints(server, deps);
  registerEnvironmentEndpoints(server, deps);
  registerFeatureEndpoints(server, deps);

  server.get<ByGuid>('/v3/apps/:guid/permissions', async ({ params, caller }) => {
    const app = await seeApp(deps, caller, params.guid);
    return {
      read_basic_data: true,
      read_sensitive_data: caller.may('app.read_secrets', app),
    };
  });
}

function registerDropletEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, config, apps } = deps;
  const path = '/v3/apps/:guid/relationships/current_droplet';

  server.get<ByGuid>(path, async ({ params, caller }) => {
    const app = await seeApp(deps, caller, params.guid);
    if (app.droplet_guid === null) throw notFound('Droplet');
    return presentDropletRelationship(app, links);
  });

  server.patch<ByGuid>(path, { config: { body: AssignDroplet } }, async ({ params, body, caller }) => {
    const found = await seeApp(deps, caller, params.guid);
    caller.require('app.manage', found);
    const { data } = parseBody(AssignDroplet, body);
    await requireNoDeployment(db, found.guid, 'Cannot update droplet while a deployment is in flight.');
    const { app, aftermath } = await inTransaction(
      db,
      async (trx) => await assignDroplet(trx, found, data.guid, { config, actor: caller.actor }),
    );
    carryOut(apps, found.guid, aftermath);
    apps.say(found.guid, `Updated app with guid ${found.guid} (${JSON.stringify({ droplet_guid: data.guid })})`);
    return presentDropletRelationship(app, links);
  });

  server.get<ByGuid>('/v3/apps/:guid/droplets/current', async ({ params, caller }) => {
    const app = await seeApp(deps, caller, params.guid);
    const droplet = app.droplet_guid === null ? undefined : await findDroplet(db, app.droplet_guid);
    if (!droplet) throw notFound('Droplet');
    return presentDroplet(droplet, { links, withSecrets: caller.may('app.read_secrets', app) });
  });
}

function registerEnvironmentEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, config, apps, vault } = deps;

  server.get<ByGuid>('/v3/apps/:guid/env', async ({ params, caller }) => {
    const app = await seeApp(deps, caller, params.guid);
    caller.require('app.read_env', app);
    await requireFeature(db, 'env_var_visibility', caller);
    if (!caller.seesEverything) await requireFeature(db, 'space_developer_env_var_visibility', caller);
    const [staging, running, routes, web, services] = await Promise.all([
      loadVariableGroup(db, 'staging'),
      loadVariableGroup(db, 'running'),
      loadRoutes(db, app.guid),
      findProcessOfType(db, app.guid, 'web'),
      loadVcapServices(db, vault, app.guid),
    ]);
    await recordAppEvent(db, app, caller.actor, 'environment.show');
    const uris = routes.filter((route) => route.process_type === 'web').map((route) => route.uri);
    const limits = {
      memory_mb: web?.memory_in_mb ?? config.defaults.app_memory_mb,
      disk_mb: web?.disk_in_mb ?? config.defaults.app_disk_mb,
    };
    const settings = { api_url: config.urls.api, fds: config.limits.fds };
    return {
      environment_variables: app.environment_variables,
      staging_env_json: staging,
      running_env_json: running,
      system_env_json: servicesVariable(app, services),
      application_env_json: { VCAP_APPLICATION: vcapApplication({ app, uris }, limits, settings) },
    };
  });

  const presentVariables = (app: FoundApp, variables: Record<string, string>): Record<string, unknown> => ({
    var: variables,
    links: {
      self: links.to(`/v3/apps/${app.guid}/environment_variables`),
      app: links.to(`/v3/apps/${app.guid}`),
    },
  });

  server.get<ByGuid>('/v3/apps/:guid/environment_variables', async ({ params, caller }) => {
    const app = await seeApp(deps, caller, params.guid);
    caller.require('app.read_env', app);
    if (!caller.seesEverything) await requireFeature(db, 'space_developer_env_var_visibility', caller);
    await recordAppEvent(db, app, caller.actor, 'environment_variables.show');
    return presentVariables(app, app.environment_variables);
  });

  server.patch<ByGuid>(
    '/v3/apps/:guid/environment_variables',
    { config: { body: UpdateEnvironment } },
    async ({ params, body, caller }) => {
      const app = await seeApp(deps, caller, params.guid);
      caller.require('app.manage', app);
      const wanted = parseBody(UpdateEnvironment, body);
      const variables = await inTransaction(db, async (trx) => {
        const row = await trx
          .selectFrom('apps')
          .select('environment_variables')
          .where('guid', '=', app.guid)
          .forUpdate()
          .executeTakeFirstOrThrow();
        const merged = mergeEnvironment(row.environment_variables, wanted.var);
        await updateApp(trx, app.guid, { environment_variables: JSON.stringify(merged) });
        // Names alone: values may be secrets.
        const data = { request: { environment_variables: Object.keys(wanted.var) } };
        await recordAppEvent(trx, app, caller.actor, { what: 'update', data });
        return merged;
      });
      apps.say(app.guid, `Updated app with guid ${app.guid} ({"environment_variables"=>"[PRIVATE DATA HIDDEN]"})`);
      return presentVariables(app, variables);
    },
  );
}

/** What stands in the environment of the app's services; the files themselves are in containers alone. */
function servicesVariable(app: FoundApp, services: VcapServices): Record<string, unknown> {
  const { SERVICE_BINDING_ROOT, VCAP_SERVICES_FILE_PATH } = SERVICE_BINDING_PATHS;
  if (app.service_binding_k8s_enabled) return { SERVICE_BINDING_ROOT };
  if (app.file_based_vcap_services_enabled) return { VCAP_SERVICES_FILE_PATH };
  return { VCAP_SERVICES: services };
}

const FEATURES = {
  ssh: { column: 'ssh_enabled', description: 'Enable SSHing into the app.' },
  revisions: { column: 'revisions_enabled', description: 'Enable versioning of an application' },
  'service-binding-k8s': {
    column: 'service_binding_k8s_enabled',
    description: 'Enable k8s service bindings for the app',
  },
  'file-based-vcap-services': {
    column: 'file_based_vcap_services_enabled',
    description: 'Enable file-based VCAP service bindings for the app',
  },
} as const;
type FeatureName = keyof typeof FEATURES;

export function isAppFeature(name: string): name is FeatureName {
  return Object.hasOwn(FEATURES, name);
}

/** Errors: 422. Source: cloud_controller_ng, app features. */
function refuseBothFileFeatures(app: FoundApp): void {
  if (app.service_binding_k8s_enabled && app.file_based_vcap_services_enabled) {
    throw unprocessable(
      "'file-based-vcap-services' and 'service-binding-k8s' features cannot be enabled at the same time.",
    );
  }
}

/** The columns that turn features on or off. */
export function featureColumns(features: Readonly<Record<string, boolean>>): Parameters<typeof updateApp>[2] {
  return Object.fromEntries(
    Object.entries(features).flatMap(([name, enabled]) =>
      isAppFeature(name) ? [[FEATURES[name].column, enabled]] : [],
    ),
  );
}

/** Those that were decided for the app; the platform decides the others. */
export function featuresOf(app: FoundApp): Record<string, boolean> {
  return Object.fromEntries(
    Object.entries(FEATURES).flatMap(([name, { column }]) => {
      const isEnabled = app[column];
      return isEnabled === null ? [] : [[name, isEnabled] as const];
    }),
  );
}

export function presentFeature(app: FoundApp, name: FeatureName, byDefault: { ssh: boolean }): Record<string, unknown> {
  const { column, description } = FEATURES[name];
  return { name, description, enabled: app[column] ?? byDefault.ssh };
}

function registerFeatureEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, config } = deps;
  const byDefault = { ssh: config.defaults.app_ssh_access };
  type ByName = { Params: { guid: string; name: string } };

  server.get<ByGuid>('/v3/apps/:guid/features', async ({ params, caller }) => {
    const app = await seeApp(deps, caller, params.guid);
    const names = Object.keys(FEATURES).filter(isAppFeature);
    const here = links.to(`/v3/apps/${app.guid}/features`);
    return {
      resources: names.map((name) => presentFeature(app, name, byDefault)),
      pagination: {
        total_results: names.length,
        total_pages: 1,
        first: here,
        last: here,
        next: null,
        previous: null,
      },
    };
  });

  const seeFeature = (name: string): FeatureName => {
    if (!isAppFeature(name)) throw notFound('Feature');
    return name;
  };

  server.get<ByName>('/v3/apps/:guid/features/:name', async ({ params, caller }) => {
    const app = await seeApp(deps, caller, params.guid);
    return presentFeature(app, seeFeature(params.name), byDefault);
  });

  server.patch<ByName>(
    '/v3/apps/:guid/features/:name',
    { config: { body: UpdateFeature } },
    async ({ params, body, caller }) => {
      const app = await seeApp(deps, caller, params.guid);
      const name = seeFeature(params.name);
      caller.require('app.update', app);
      const { enabled } = parseBody(UpdateFeature, body);
      const column = FEATURES[name].column;
      refuseBothFileFeatures({ ...app, [column]: enabled });
      await updateApp(db, app.guid, { [column]: enabled });
      return presentFeature({ ...app, [column]: enabled }, name, byDefault);
    },
  );

  server.get<ByGuid>('/v3/apps/:guid/ssh_enabled', async ({ params, caller }) => {
    const app = await seeApp(deps, caller, params.guid);
    if (config.urls.ssh === undefined) return { enabled: false, reason: 'Disabled globally' };
    if (!app.space_allow_ssh) return { enabled: false, reason: `Disabled for space ${app.space_name}` };
    if (!(app.ssh_enabled ?? byDefault.ssh)) return { enabled: false, reason: 'Disabled for app' };
    return { enabled: true, reason: '' };
  });
}
