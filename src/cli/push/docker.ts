import type { Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { App, Package } from '../resources.ts';
import type { ManifestApp } from './manifest.ts';

export interface Docker {
  image: string;
  username?: string;
}

/** The image that an app of a manifest is; undefined for one of files. Errors: CommandError. */
export function dockerOf(app: ManifestApp): Docker | undefined {
  const docker = app['docker'];
  if (docker === undefined) return undefined;
  const { image, username } = (docker ?? {}) as { image?: unknown; username?: unknown };
  if (typeof image !== 'string' || image === '')
    throw new CommandError(`Application ${app.name} has 'docker' in its manifest, which must have an image.`);
  return { image, ...(typeof username === 'string' && { username }) };
}

/** What flags say of an image, in the manifest's words. Errors: CommandError. */
export function dockerOfFlags(flags: { dockerImage?: string; dockerUsername?: string }): Docker | undefined {
  const { dockerImage: image, dockerUsername: username } = flags;
  if (image !== undefined) return { image, ...(username !== undefined && { username }) };
  if (username === undefined) return undefined;
  throw new CommandError("Incorrect Usage: '--docker-image, -o' and '--docker-username' must be used together.");
}

/** Errors: CommandError when there is no password for the user, or flags say that it is no image. */
export function checkDocker(
  app: ManifestApp,
  flags: { path?: string | undefined; buildpack?: string[] | undefined; stack?: string | undefined },
): void {
  const other = (['buildpack', 'path', 'stack'] as const).find((name) => flags[name] !== undefined);
  if (other !== undefined)
    throw new CommandError(
      `Incorrect Usage: The following arguments cannot be used together: --docker-image, -o, --${other}`,
    );
  password(dockerOf(app));
}

/** Makes a package of an image; the platform pulls it. Returns its guid. */
export async function dockerPackage({ client }: Cf, app: App, docker: Docker): Promise<string> {
  const { image, username } = docker;
  const data = { image, ...(username !== undefined && { username, password: password(docker) }) };
  const relationships = { app: { data: { guid: app.guid } } };
  const json = { type: 'docker', data, relationships };
  return (await client.call<Package>('/v3/packages', { method: 'POST', json })).body.guid;
}

/** Never a flag: whoever lists processes sees those. */
function password(docker: Docker | undefined): string | undefined {
  if (docker?.username === undefined) return undefined;
  const given = process.env['CF_DOCKER_PASSWORD'];
  if (given) return given;
  throw new CommandError('Environment variable CF_DOCKER_PASSWORD not set.');
}
