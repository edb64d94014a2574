import { unprocessable } from '#contracts/cf-errors.ts';
import type { DockerImage } from '#contracts/dea.ts';
import type { Vault } from '../service-secrets/vault.ts';
import type { Db } from '../tables.ts';
import type { PackageRow } from '../tables-apps.ts';

export type DockerColumns = Pick<PackageRow, 'docker_image' | 'docker_username' | 'docker_password'>;

const NO_IMAGE: DockerColumns = { docker_image: null, docker_username: null, docker_password: null };
const MAX_TEXT = 1024;

/**
 * What a package keeps of an image and of who may pull it; the password only sealed. Errors: 422 without an image, and for half a
 * login; 503 when there is a password and no key to seal it with.
 */
export function dockerColumns(
  vault: Vault,
  guid: string,
  data: { image?: string | undefined; username?: string | undefined; password?: string | undefined } | undefined,
): DockerColumns {
  const { image = '', username, password } = data ?? {};
  if (image.trim() === '') throw unprocessable('Data Image required');
  if (`${image}${username}${password}`.length > MAX_TEXT) throw unprocessable('Data is too long');
  if (username === undefined && password === undefined) return { ...NO_IMAGE, docker_image: image };
  if (!username || !password) throw unprocessable('Data Username and password are given together or not at all');
  return { docker_image: image, docker_username: username, docker_password: vault.seal(password, guid) };
}

/** As `dockerColumns`, out of another package. */
export function copiedDockerColumns(vault: Vault, guid: string, source: PackageRow): DockerColumns {
  const { docker_image, docker_username } = source;
  const image = dockerOf(vault, source);
  return { docker_image, docker_username, docker_password: image?.password ? vault.seal(image.password, guid) : null };
}

/** The image of a package with the login for its registry, as DEAs are told it; undefined for bits. */
export function dockerOf(vault: Vault, row: PackageRow): DockerImage | undefined {
  const { guid, docker_image: image, docker_username: username, docker_password: sealed } = row;
  if (row.type !== 'docker' || image === null) return undefined;
  if (username === null || sealed === null) return { image };
  return { image, username, password: String(vault.open(sealed, guid)) };
}

/** The image that a droplet stands for, with the login of the package that it was staged from; undefined for other droplets. */
export async function loadDocker(
  db: Db,
  vault: Vault,
  droplet: { lifecycle_type: string; package_guid: string | null; image: string | null },
): Promise<DockerImage | undefined> {
  if (droplet.lifecycle_type !== 'docker') return undefined;
  const row =
    droplet.package_guid === null
      ? undefined
      : await db.selectFrom('packages').selectAll().where('guid', '=', droplet.package_guid).executeTakeFirst();
  return (row && dockerOf(vault, row)) ?? { image: droplet.image ?? '' };
}

/** The port of an app that listens where its image says, and no route says otherwise. Source: Cloud Foundry's execution metadata. */
export function exposedPort(execution_metadata: string): number | undefined {
  try {
    const { ports } = JSON.parse(execution_metadata) as { ports?: { Port?: unknown; Protocol?: unknown }[] };
    const port = ports?.find(({ Protocol }) => Protocol === 'tcp')?.Port;
    return typeof port === 'number' ? port : undefined;
  } catch {
    return undefined; // of buildpacks, which say none
  }
}
