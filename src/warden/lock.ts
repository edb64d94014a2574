import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '#kernel/errors.ts';
import { lockFile } from './syscalls.ts';

export class DepotTaken extends AppError {
  constructor(depot: string) {
    super('depot_taken', `another warden works on ${depot}: stop it first, or give this one its own depot`);
  }
}

/** Held for as long as this process lives, however it ends. Errors: DepotTaken. */
export function lockDepot(depot: string): Disposable {
  const fd = openSync(join(depot, 'lock'), 'a');
  if (!lockFile(fd)) {
    closeSync(fd);
    throw new DepotTaken(depot);
  }
  writeFileSync(join(depot, 'pid'), String(process.pid));
  return { [Symbol.dispose]: () => closeSync(fd) };
}
