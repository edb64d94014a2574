import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import type { IndexState, InstanceTracker } from '../runtime/instance-tracker.ts';
import type { ProcessHealthCheck, ProcessRow } from '../tables-apps.ts';
import type { FoundProcess } from './store.ts';

const HIDDEN = '[PRIVATE DATA HIDDEN IN LISTS]';
const REDACTED = '[PRIVATE DATA HIDDEN]';
const MB = 1024 * 1024;

export interface ProcessView {
  links: Links;
  /** `list` hides commands; `one` shows them to whom may see them. */
  as: 'list' | 'one' | 'redacted';
  /** What the droplet says for types without a command of their own. */
  detected?: Readonly<Record<string, string>> | null;
  tracker?: InstanceTracker;
}

export function presentProcess(process: FoundProcess, view: ProcessView): Record<string, unknown> {
  const { links } = view;
  const path = `/v3/processes/${process.guid}`;
  return {
    ...presentCommon(process),
    version: process.version,
    type: process.type,
    command: presentCommand(process, view),
    user: process.user ?? 'vcap',
    instances: process.instances,
    memory_in_mb: process.memory_in_mb,
    disk_in_mb: process.disk_in_mb,
    log_rate_limit_in_bytes_per_second: process.log_rate_limit_in_bytes_per_second,
    health_check: presentHealthCheck(process.health_check, true),
    readiness_health_check: presentHealthCheck(process.readiness_health_check, false),
    ...(view.tracker && { process_instances: presentInstances(process, view.tracker) }),
    relationships: {
      app: toOne(process.app_guid),
      revision: process.revision_guid === null ? null : toOne(process.revision_guid),
    },
    ...presentMetadata(process),
    links: {
      self: links.to(path),
      scale: links.with(`${path}/actions/scale`, 'POST'),
      app: links.to(`/v3/apps/${process.app_guid}`),
      space: links.to(`/v3/spaces/${process.space_guid}`),
      stats: links.to(`${path}/stats`),
      process_instances: links.to(`${path}/process_instances`),
    },
  };
}

function presentCommand(process: ProcessRow, { as, detected }: ProcessView): string | null {
  if (as === 'list') return HIDDEN;
  const command = process.command ?? detected?.[process.type] ?? null;
  return command !== null && as === 'redacted' ? REDACTED : command;
}

function presentHealthCheck({ type, data }: ProcessHealthCheck, isLiveness: boolean): Record<string, unknown> {
  return {
    type,
    data: {
      ...(isLiveness && { timeout: data.timeout ?? null }),
      ...(type !== 'process' && {
        invocation_timeout: data.invocation_timeout ?? null,
        interval: data.interval ?? null,
      }),
      ...(type === 'http' && { endpoint: data.endpoint ?? '/' }),
    },
  };
}

/** A stopped process has no instances to tell of. */
function statesOf(process: ProcessRow, tracker: InstanceTracker): IndexState[] {
  return tracker.indexStates(process.state === 'STARTED' ? process : { ...process, instances: 0 });
}

/** `since` is whole seconds since the epoch: the cf CLI takes no fractions. */
export function presentInstances(process: ProcessRow, tracker: InstanceTracker): Record<string, unknown>[] {
  return statesOf(process, tracker).map(({ index, state, since_s }) => ({ index, state, since: Math.floor(since_s) }));
}

export function presentStats(
  process: ProcessRow,
  context: { tracker: InstanceTracker; now_ms: number; fds: number },
): Record<string, unknown> {
  return { resources: statesOf(process, context.tracker).map((state) => presentStat(process, state, context)) };
}

function presentStat(
  process: ProcessRow,
  at: IndexState,
  { now_ms, fds }: { now_ms: number; fds: number },
): Record<string, unknown> {
  const uptime = at.since_s > 0 ? Math.max(0, Math.floor(now_ms / 1000 - at.since_s)) : 0;
  const { index, state, instance, usage, details } = at;
  const as = process.started_as;
  const isolation_segment = as?.isolation_segment ?? null;
  if (!instance) {
    return { type: process.type, index, state, routable: false, uptime, isolation_segment, details };
  }
  const external = instance.port ?? 0;
  return {
    type: process.type,
    index,
    instance_guid: instance.instance,
    state,
    routable: at.routable,
    host: instance.host ?? '',
    instance_internal_ip: instance.container_ip ?? '',
    instance_ports:
      external === 0
        ? []
        : [{ external, internal: 8080, external_tls_proxy_port: null, internal_tls_proxy_port: null }],
    uptime,
    mem_quota: (as?.memory_in_mb ?? process.memory_in_mb) * MB,
    disk_quota: (as?.disk_in_mb ?? process.disk_in_mb) * MB,
    log_rate_limit: as?.log_rate_limit_in_bytes_per_second ?? process.log_rate_limit_in_bytes_per_second,
    fds_quota: fds,
    isolation_segment,
    details,
    // The cf CLI takes no fractions of bytes.
    usage: usage
      ? {
          time: usage.time,
          cpu: usage.cpu,
          cpu_entitlement: usage.cpu_entitlement ?? null,
          mem: Math.round(usage.mem),
          disk: Math.round(usage.disk),
          log_rate: Math.round(usage.log_rate),
        }
      : {},
  };
}
