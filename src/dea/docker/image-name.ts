import { ImageInvalid } from './image-errors.ts';

export interface ImageName {
  /** Of the registry, with its port. */
  host: string;
  repository: string;
  /** A tag, or a digest that pins the image. */
  reference: string;
}

const DEFAULT_HOST = 'registry-1.docker.io';
const PART = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(`^${PART}(?:/${PART})*$`);
const HOST = /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$|^\[[0-9a-fA-F:]+\](:\d{1,5})?$/;

/**
 * Reads an image's name as docker does: without a host it is on Docker Hub, without a tag it is `latest`.
 * Errors: ImageInvalid.
 */
export function parseImageName(text: string): ImageName {
  const match = /^(?<path>[^@]+?)(?::(?<tag>\w[\w.-]{0,127}))?(?:@(?<digest>sha256:[a-f0-9]{64}))?$/.exec(text);
  const { path = '', tag = 'latest', digest } = match?.groups ?? {};
  const slash = path.indexOf('/');
  const first = path.slice(0, Math.max(slash, 0));
  // Only what looks like a machine is one: `library/nginx` is a repository of Docker Hub.
  const hasHost = /[.:]|^localhost$|^\[/.test(first);
  const rest = hasHost ? path.slice(slash + 1) : path;
  const isHub = !hasHost || first === 'docker.io' || first === 'index.docker.io';
  const repository = isHub && !rest.includes('/') ? `library/${rest}` : rest;
  if (!match || !REPOSITORY.test(repository) || (hasHost && !HOST.test(first)))
    throw new ImageInvalid(`${JSON.stringify(text)} is not the name of an image`);
  return { host: isHub ? DEFAULT_HOST : first, repository, reference: digest ?? tag };
}
