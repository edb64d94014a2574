import type { Caller } from '../api/caller.ts';
import type { Deps } from '../deps.ts';
import { findPackage, type FoundPackage } from './store.ts';

export async function seePackage(deps: Pick<Deps, 'db'>, caller: Caller, guid: string): Promise<FoundPackage> {
  return caller.see('app.read', await findPackage(deps.db, guid), 'Package');
}
