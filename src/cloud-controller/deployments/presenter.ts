import { type Links, presentCommon, presentMetadata, presentTime, toOne } from '../api/links.ts';
import type { DeploymentRow } from '../tables-apps.ts';

export function presentDeployment(row: DeploymentRow, links: Links): Record<string, unknown> {
  const path = `/v3/deployments/${row.guid}`;
  const isActive = row.status_value === 'ACTIVE';
  const isCanary = row.strategy === 'canary';
  const total = Math.max(1, row.canary_steps.length);
  return {
    ...presentCommon(row),
    status: {
      value: row.status_value,
      reason: row.status_reason,
      details: {
        last_successful_healthcheck: presentTime(row.last_healthy_at),
        last_status_change: presentTime(row.status_changed_at),
        ...(row.error !== null && { error: row.error }),
      },
      ...(isCanary && { canary: { steps: { current: Math.min(row.canary_step, total), total } } }),
    },
    strategy: row.strategy,
    options: {
      max_in_flight: row.max_in_flight,
      ...Object.fromEntries(Object.entries(row.options).filter(([, value]) => value !== null && value !== undefined)),
      ...(row.canary_steps.length > 0 && { canary: { steps: row.canary_steps } }),
    },
    droplet: { guid: row.droplet_guid },
    previous_droplet: { guid: row.previous_droplet_guid },
    new_processes: row.new_process_guid === null ? [] : [{ guid: row.new_process_guid, type: 'web' }],
    ...(row.revision_guid !== null && { revision: { guid: row.revision_guid, version: row.revision_version } }),
    ...presentMetadata(row),
    relationships: { app: toOne(row.app_guid) },
    links: {
      self: links.to(path),
      app: links.to(`/v3/apps/${row.app_guid}`),
      ...(isActive && { cancel: links.with(`${path}/actions/cancel`, 'POST') }),
      ...(isActive && isCanary && { continue: links.with(`${path}/actions/continue`, 'POST') }),
    },
  };
}
