import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import { presentOperation } from '../service-operations/operation.ts';
import type { CredentialBinding } from './store.ts';

export function presentCredentialBinding(row: CredentialBinding, links: Links): Record<string, unknown> {
  const path = `/v3/service_credential_bindings/${row.guid}`;
  return {
    ...presentCommon(row),
    name: row.name,
    type: row.type,
    last_operation: presentOperation(row),
    ...presentMetadata(row),
    relationships: {
      service_instance: toOne(row.service_instance_guid),
      ...(row.app_guid !== null && { app: toOne(row.app_guid) }),
    },
    links: {
      self: links.to(path),
      details: links.to(`${path}/details`),
      ...(row.instance_type === 'managed' && { parameters: links.to(`${path}/parameters`) }),
      service_instance: links.to(`/v3/service_instances/${row.service_instance_guid}`),
      ...(row.app_guid !== null && { app: links.to(`/v3/apps/${row.app_guid}`) }),
    },
  };
}
