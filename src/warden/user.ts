import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WardenError } from '#http/warden-client.ts';

/** Who a process in a container is. */
export interface ContainerUser {
  name: string;
  uid: number;
  gid: number;
  additional_gids: number[];
  home: string;
}

export const ROOT: ContainerUser = { name: 'root', uid: 0, gid: 0, additional_gids: [], home: '/root' };
export const VCAP: ContainerUser = { name: 'vcap', uid: 2000, gid: 2000, additional_gids: [], home: '/home/vcap' };

/**
 * `vcap` and `root` are the same in every container; any other is `USER[:GROUP]` as an image names it, by names of its own
 * /etc/passwd and /etc/group or by numbers. Errors: WardenError invalid_request.
 */
export function userOf(text: string, rootfs: string): ContainerUser {
  if (text === 'root') return ROOT;
  if (text === 'vcap') return VCAP;
  return resolveUser(text, { passwd: tableOf(rootfs, 'passwd'), group: tableOf(rootfs, 'group') });
}

export function resolveUser(text: string, tables: { passwd: string[][]; group: string[][] }): ContainerUser {
  const [wanted = '', group] = text.split(':');
  const entry = tables.passwd.find((fields) => fields[0] === wanted) ?? tables.passwd.find((f) => f[2] === wanted);
  const uid = entry ? Number(entry[2]) : number(wanted);
  if (uid === undefined) throw new WardenError('invalid_request', `the container has no user ${wanted}`);
  const name = entry?.[0] ?? wanted;
  const home = entry?.[5] ?? '';
  const gid = group === undefined || group === '' ? Number(entry?.[3] ?? 0) : gidOf(group, tables.group);
  // As the login of that user would have them, unless a group is named.
  const member = tables.group.filter((fields) => (fields[3] ?? '').split(',').includes(name));
  const additional_gids = group === undefined ? member.map((fields) => Number(fields[2])) : [];
  return { name, uid, gid, additional_gids, home: home === '' ? '/' : home };
}

function gidOf(wanted: string, table: string[][]): number {
  const entry = table.find((fields) => fields[0] === wanted);
  const gid = entry ? Number(entry[2]) : number(wanted);
  if (gid === undefined) throw new WardenError('invalid_request', `the container has no group ${wanted}`);
  return gid;
}

/** Ids beyond what is mapped into a container are nobody's. */
function number(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) < 65_536 ? Number(text) : undefined;
}

/** What a process has in its environment unless it is given other values. */
export function environmentOf({ name, home, uid }: ContainerUser): Record<'HOME' | 'USER' | 'PATH', string> {
  const path = '/usr/local/bin:/usr/bin:/bin';
  const system = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  // vcap is the one whom a stack gives no administrator's commands; an image's users find all of them.
  return { HOME: home, USER: name, PATH: uid === VCAP.uid ? path : system };
}

/** Not through a link: an image's could lead to the host's own. */
function tableOf(rootfs: string, name: string): string[][] {
  const path = join(rootfs, 'etc', name);
  const isPlain =
    lstatSync(join(rootfs, 'etc'), { throwIfNoEntry: false })?.isDirectory() === true &&
    lstatSync(path, { throwIfNoEntry: false })?.isFile() === true;
  if (!isPlain) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter((line) => line.trim() !== '').map((line) => line.split(':'));
}
