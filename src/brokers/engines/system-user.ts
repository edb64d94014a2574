import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';

export interface SystemUser {
  uid: number;
  gid: number;
}

/** A system user by name, made when it is not there. */
export function ensureSystemUser(name: string): SystemUser {
  const idOf = (flag: string): number =>
    Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { uid: idOf('-u'), gid: idOf('-g') };
  } catch {
    execFileSync('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', name], {
      stdio: 'ignore',
    });
    return { uid: idOf('-u'), gid: idOf('-g') };
  }
}

/** A folder that is that user's alone. */
export function ownFolder(folder: string, { uid, gid }: SystemUser): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chownSync(folder, uid, gid);
}

/** A file that only that user reads, whole at any moment. */
export function writeOwned(file: string, text: string, { uid, gid }: SystemUser): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  chownSync(`${file}.new`, uid, gid);
  renameSync(`${file}.new`, file);
}
