import type { HealthCheck, StartMessage } from '#contracts/dea.ts';
import { exposedPort } from '../packages/docker.ts';
import type { ProcessHealthCheck } from '../tables-apps.ts';
import { type AppInSpace, portsOf, type RouteToApp, type StartFacts } from './start-facts.ts';

export interface StartSettings {
  api_url: string;
  cc_partition: string;
  fds: number;
  health_check_timeout_s: number;
}

/** The order to start one instance of a process. */
export function startMessage(
  facts: StartFacts,
  instance: { guid: string; index: number },
  urls: { droplet_uri: string },
  settings: StartSettings,
): StartMessage {
  const { app, process, started_as: as, droplet } = facts;
  const { uris, internal_uris, route_options } = routesOf(process.type, facts.routes);
  const readiness = as.readiness_health_check;
  const sidecars = as.sidecars.filter((sidecar) => sidecar.process_types.includes(process.type));
  return {
    kind: 'LRP',
    droplet: process.guid,
    app: app.guid,
    version: process.version,
    instance: instance.guid,
    index: instance.index,
    process_type: process.type,
    name: app.name,
    space_name: app.space_name,
    organization_name: app.organization_name,
    stack: facts.stack,
    droplet_guid: droplet.guid,
    droplet_uri: urls.droplet_uri,
    droplet_sha256: droplet.sha256,
    ...(facts.docker && { docker: facts.docker }),
    start_command: as.command,
    uris,
    internal_uris,
    ports: portsOf(process.type, facts.routes, exposedPort(droplet.execution_metadata)),
    limits: {
      mem: as.memory_in_mb,
      disk: as.disk_in_mb,
      fds: settings.fds,
      log_rate: as.log_rate_limit_in_bytes_per_second,
    },
    env: [...Object.entries(facts.group_variables), ...Object.entries(as.environment_variables)],
    vcap_application: vcapApplication(
      {
        app,
        uris: [...uris, ...internal_uris],
        version: process.version,
        process: { guid: process.guid, type: process.type },
      },
      { memory_mb: as.memory_in_mb, disk_mb: as.disk_in_mb },
      settings,
    ),
    ...facts.services.told,
    volume_mounts: facts.services.volume_mounts,
    health_check: healthCheck(as.health_check, settings.health_check_timeout_s),
    ...(readiness.type !== 'process' && {
      readiness_health_check: healthCheck(readiness, settings.health_check_timeout_s),
    }),
    sidecars: sidecars.map(({ name, command, memory_in_mb }) => ({
      name,
      command,
      ...(memory_in_mb !== null && { memory_in_mb }),
    })),
    egress_network_rules: facts.egress_rules,
    ...(route_options && { route_options }),
    cc_partition: settings.cc_partition,
  };
}

/** What a DEA registers for a process type: with the router, and for the containers' DNS. */
export function routesOf(
  process_type: string,
  routes: readonly RouteToApp[],
): Pick<StartMessage, 'uris' | 'internal_uris' | 'route_options'> {
  const own = routes.filter((route) => route.process_type === process_type);
  const options = own.flatMap((route) => {
    const { loadbalancing, route_service_url, route_policy_scope, route_policy_sources } = route;
    const said = {
      ...(loadbalancing && { loadbalancing }),
      ...(route_service_url && { route_service_url }),
      ...(route_policy_scope && { route_policy_scope }),
      ...(route_policy_sources && { route_policy_sources }),
    };
    return Object.keys(said).length > 0 ? [[route.uri, said] as const] : [];
  });
  return {
    uris: urisOf(own, false),
    internal_uris: urisOf(own, true),
    ...(options.length > 0 && { route_options: Object.fromEntries(options) }),
  };
}

function urisOf(routes: readonly RouteToApp[], is_internal: boolean): string[] {
  return [...new Set(routes.filter((route) => route.is_internal === is_internal).map(({ uri }) => uri))];
}

/** The part of VCAP_APPLICATION that the cloud controller knows. Source: Cloud Foundry's documentation of the variable. */
export function vcapApplication(
  what: {
    app: AppInSpace;
    uris: readonly string[];
    version?: string;
    process?: { guid: string; type: string };
  },
  limits: { memory_mb: number; disk_mb: number },
  settings: { api_url: string; fds: number },
): Record<string, unknown> {
  const { app, uris, version, process } = what;
  return {
    cf_api: settings.api_url,
    limits: { mem: limits.memory_mb, disk: limits.disk_mb, fds: settings.fds },
    application_id: app.guid,
    application_name: app.name,
    name: app.name,
    application_uris: uris,
    uris,
    space_id: app.space_guid,
    space_name: app.space_name,
    organization_id: app.organization_guid,
    organization_name: app.organization_name,
    users: null,
    ...(version !== undefined && { application_version: version, version }),
    ...(process && { process_id: process.guid, process_type: process.type }),
  };
}

function healthCheck(check: ProcessHealthCheck, timeout_s: number): HealthCheck {
  const { endpoint, invocation_timeout, interval, timeout } = check.data;
  return {
    type: check.type,
    timeout_s: timeout ?? timeout_s,
    ...(check.type === 'http' && { endpoint: endpoint ?? '/' }),
    ...(invocation_timeout != null && { invocation_timeout_s: invocation_timeout }),
    ...(interval != null && { interval_s: interval }),
  };
}
