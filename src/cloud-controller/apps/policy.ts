import type { Caller } from '../api/caller.ts';
import type { Deps } from '../deps.ts';
import { findApp, type FoundApp } from './store.ts';

/** The app, if the caller may see it. Errors: 404 "App not found". */
export async function seeApp(deps: Pick<Deps, 'db'>, caller: Caller, guid: string): Promise<FoundApp> {
  return caller.see('app.read', await findApp(deps.db, guid), 'App');
}
