import type { Caller } from '../api/caller.ts';
import type { Deps } from '../deps.ts';
import { findDroplet, type FoundDroplet } from './store.ts';

export async function seeDroplet(deps: Pick<Deps, 'db'>, caller: Caller, guid: string): Promise<FoundDroplet> {
  return caller.see('app.read', await findDroplet(deps.db, guid), 'Droplet');
}
