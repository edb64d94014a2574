import type { CfClient } from './client.ts';
import { CommandError, notFoundError, notLoggedIn } from './errors.ts';
import type { App } from './resources.ts';
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
export async function findApp(cf: Cf, name: string): Promise<App> {
  const app = await findByName<App>(cf, '/v3/apps', name, { space_guids: requireSpace(cf).guid });
  if (!app) throw notFoundError('App', name);
  return app;
}
