import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import type { DropletRow } from '../tables-apps.ts';

const REDACTED = '[PRIVATE DATA HIDDEN]';

/** `withSecrets`: start commands are shown; lists and auditors do not see them. */
export function presentDroplet(
  droplet: DropletRow,
  { links, withSecrets }: { links: Links; withSecrets: boolean },
): Record<string, unknown> {
  const path = `/v3/droplets/${droplet.guid}`;
  const app = `/v3/apps/${droplet.app_guid}`;
  const types = droplet.process_types;
  const isStaged = droplet.state === 'STAGED';
  return {
    ...presentCommon(droplet),
    state: droplet.state,
    error: droplet.error,
    lifecycle: { type: droplet.lifecycle_type, data: {} },
    execution_metadata: withSecrets ? droplet.execution_metadata : REDACTED,
    process_types: types === null || withSecrets ? types : { redacted_message: '[PRIVATE DATA HIDDEN IN LISTS]' },
    checksum: droplet.sha256 === null ? null : { type: 'sha256', value: droplet.sha256 },
    buildpacks: droplet.buildpacks,
    stack: droplet.stack,
    image: droplet.image,
    ...presentMetadata(droplet),
    relationships: { app: toOne(droplet.app_guid) },
    links: {
      self: links.to(path),
      ...(droplet.package_guid !== null && { package: links.to(`/v3/packages/${droplet.package_guid}`) }),
      app: links.to(app),
      assign_current_droplet: links.with(`${app}/relationships/current_droplet`, 'PATCH'),
      ...(isStaged && { download: links.to(`${path}/download`) }),
      ...(droplet.state === 'AWAITING_UPLOAD' && { upload: links.with(`${path}/upload`, 'POST') }),
    },
  };
}
