import { join } from 'node:path';

/** The folders that containers have for themselves; all others are the machine's. */
const PRIVATE = [
  'home/vcap',
  'tmp',
  'etc/cf-service-bindings',
  'etc/cf-instance-credentials',
  'etc/cf-system-certificates',
];
const MENTION = new RegExp(`(^|[^\\w.\\-/})])/(${PRIVATE.join('|')})(?![\\w.-])`, 'g');

/**
 * Where a path of the container is on this machine. Only what a container has for itself is elsewhere than it says.
 * @param root absolute folder of the container
 */
export function placeOf(root: string, path: string): string {
  const isPrivate = PRIVATE.some((folder) => path === `/${folder}` || path.startsWith(`/${folder}/`));
  return isPrivate ? join(root, path) : path;
}

/** A text, such as a script or a variable, with each such path in it put where it is. */
export function placesIn(root: string, text: string): string {
  return text.replace(MENTION, (_, before: string, folder: string) => `${before}${root}/${folder}`);
}
