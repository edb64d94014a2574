import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import type { PackageRow } from '../tables-apps.ts';

export function presentPackage(row: PackageRow, links: Links): Record<string, unknown> {
  const path = `/v3/packages/${row.guid}`;
  const isBits = row.type === 'bits';
  return {
    ...presentCommon(row),
    type: row.type,
    data: isBits
      ? { error: row.error, checksum: { type: 'sha256', value: row.sha256 } }
      : {
          image: row.docker_image,
          username: row.docker_username,
          password: row.docker_username === null ? null : '***',
        },
    state: row.state,
    ...presentMetadata(row),
    relationships: { app: toOne(row.app_guid) },
    links: {
      self: links.to(path),
      ...(isBits && {
        upload: links.with(`${path}/upload`, 'POST'),
        download: links.to(`${path}/download`),
      }),
      app: links.to(`/v3/apps/${row.app_guid}`),
    },
  };
}
