import type { CfClient } from './client.ts';
import { ApiError, CommandError, notFoundError, notLoggedIn } from './errors.ts';
import type { App, Named } from './resources.ts';
import type { Session } from './session.ts';
import type { Terminal } from './terminal.ts';

/** What every command is given. */
export interface Cf {
  session: Session;
  client: CfClient;
  terminal: Terminal;
}

/** Errors: CommandError when nobody is logged in. */
export function requireUser({ session }: Cf): string {
  if (session.data.AccessToken === '') throw notLoggedIn();
  return session.userName;
}

export function requireOrg(cf: Cf): { guid: string; name: string } {
  requireUser(cf);
  const { GUID, Name } = cf.session.data.OrganizationFields;
  if (GUID === '') throw new CommandError("No org targeted, use 'cf target -o ORG' to target an org.");
  return { guid: GUID, name: Name };
}

export function requireSpace(cf: Cf): { guid: string; name: string; org: string } {
  const org = requireOrg(cf);
  const { GUID, Name } = cf.session.data.SpaceFields;
  if (GUID === '') throw new CommandError("No space targeted, use 'cf target -s SPACE' to target a space.");
  return { guid: GUID, name: Name, org: org.name };
}

/** `in org main / space dev as admin`, highlighted. */
export function whereAndWho(cf: Cf): string {
  const { name, org } = requireSpace(cf);
  const shown = (text: string): string => cf.terminal.name(text);
  return `in org ${shown(org)} / space ${shown(name)} as ${shown(cf.session.userName)}`;
}

/** The one resource of a list with this name; undefined when there is none. */
export async function findByName<T>(
  cf: Cf,
  path: string,
  name: string,
  query: Record<string, string> = {},
): Promise<T | undefined> {
  // Lists take several names, comma-separated; a comma of the name itself is escaped once more.
  const { resources } = await cf.client.list<T>(path, { names: name.replaceAll(',', '%2C'), ...query });
  return resources[0];
}

/** Errors: CommandError "App 'x' not found." */
export async function findApp(cf: Cf, name: string, space_guid = requireSpace(cf).guid): Promise<App> {
  const app = await findByName<App>(cf, '/v3/apps', name, { space_guids: space_guid });
  if (!app) throw notFoundError('App', name);
  return app;
}

/** Errors: CommandError "Kind 'x' not found." */
export async function mustFind<T = Named>(
  cf: Cf,
  { kind, path }: { kind: string; path: string },
  name: string,
  query: Record<string, string> = {},
): Promise<T> {
  requireUser(cf);
  const found = await findByName<T>(cf, path, name, query);
  if (!found) throw notFoundError(kind, name);
  return found;
}

/** The org of this name, or the targeted one. */
export async function findOrg<T extends Named = Named>(cf: Cf, name: string): Promise<T> {
  return await mustFind<T>(cf, { kind: 'Organization', path: '/v3/organizations' }, name);
}

/** A space of the targeted org, or of the one given. */
export async function findSpace<T extends Named = Named>(cf: Cf, name: string, org_guid?: string): Promise<T> {
  const organization_guids = org_guid ?? requireOrg(cf).guid;
  return await mustFind<T>(cf, { kind: 'Space', path: '/v3/spaces' }, name, { organization_guids });
}

/** Makes a change whose work may be done already: `done` says by which words of the API, and is shown in its place. */
export async function unlessDone(
  cf: Cf,
  done: { when: RegExp; say?: string; silent?: true },
  change: () => Promise<unknown>,
): Promise<boolean> {
  try {
    await change();
    return true;
  } catch (error) {
    if (!(error instanceof ApiError) || !done.when.test(error.message)) throw error;
    if (!done.silent) cf.terminal.warn(done.say ?? error.message);
    return false;
  }
}
