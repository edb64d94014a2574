import type { StartMessage } from '#contracts/dea.ts';
import type { CreateRequest } from '#contracts/warden.ts';
import type { DeaConfig } from './config.ts';

const MB = 1024 * 1024;

/** The container of an instance: its droplet over the stack, or its image alone, its limits, its ports, and by whom it is known. */
export function containerRequest(
  start: StartMessage,
  facts: {
    handle: string;
    layers: string[];
    bind_mounts: NonNullable<CreateRequest['bind_mounts']>;
    dea: string;
    settings: DeaConfig['instance'];
  },
): CreateRequest {
  const { settings } = facts;
  const shares = Math.round(start.limits.mem / settings.memory_to_cpu_share_ratio);
  return {
    handle: facts.handle,
    ...(!start.docker && { stack: start.stack }),
    layers: facts.layers,
    bind_mounts: facts.bind_mounts,
    limits: {
      memory_in_bytes: start.limits.mem * MB,
      disk_in_bytes: start.limits.disk * MB,
      cpu_shares: Math.min(settings.max_cpu_shares, Math.max(settings.min_cpu_shares, shares)),
      pids: settings.max_processes,
      nofile: start.limits.fds,
    },
    net_in: start.ports.map((container_port) => ({ container_port })),
    net_out: start.egress_network_rules,
    hostname: start.instance,
    properties: { dea: facts.dea, instance: start.instance, app: start.app },
  };
}
