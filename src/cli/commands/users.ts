import type { Command } from 'commander';
import { requireUser, type Cf } from '../context.ts';
import { ApiError, CommandError } from '../errors.ts';

interface UaaUsers {
  resources: { id: string; userName: string; origin: string }[];
}

export function registerUserCommands(program: Command, cf: Cf): void {
  const { terminal, client, session } = cf;

  program
    .command('create-user <USERNAME> [PASSWORD]')
    .description('Create a new user')
    .option('--origin <origin>', 'Provider of identity that knows the user')
    .option('--password-prompt', 'Ask for the password')
    .action(async (name: string, given: string | undefined, flags: { origin?: string; passwordPrompt?: true }) => {
      requireUser(cf);
      const isOfUaa = ['', 'uaa'].includes(flags.origin?.toLowerCase() ?? '');
      const password = flags.passwordPrompt ? await terminal.askHidden('Password') : given;
      if (isOfUaa && password === undefined)
        throw new CommandError('Incorrect Usage: the required argument `PASSWORD` was not provided');
      terminal.say(terminal.text`Creating user ${name}...`);
      const origin = flags.origin ?? '';
      const guid = await createInUaa(cf, { name, password, origin }, isOfUaa);
      if (guid === undefined) {
        terminal.warn(`User '${name}' already exists.`);
        return terminal.ok();
      }
      await client.call('/v3/users', { method: 'POST', json: { guid } });
      terminal.ok();
      terminal.say("TIP: Assign roles with 'cf set-org-role' and 'cf set-space-role'.");
    });

  program
    .command('delete-user <USERNAME>')
    .description('Delete a user')
    .option('-f', 'Do not ask first')
    .option('--origin <origin>', 'Provider of identity that knows the user')
    .action(async (name: string, flags: { f?: true; origin?: string }) => {
      const user = requireUser(cf);
      if (!(await terminal.confirm(`Really delete the user ${name}?`, flags.f))) {
        terminal.say(`User '${name}' has not been deleted.`);
        return terminal.ok();
      }
      terminal.say(terminal.text`Deleting user ${name} as ${user}...`);
      const found = await findInUaa(cf, name, flags.origin);
      const [only, ...more] = found;
      if (more.length > 0)
        throw new CommandError(
          `The user '${name}' exists in multiple origins. Specify an origin by using --origin. Origins: ${found.map(({ origin }) => origin).join(', ')}`,
        );
      if (!only) {
        terminal.warn(`User '${name}' does not exist.`);
        return terminal.ok();
      }
      await deleteInApi(cf, only.id);
      await client.call(`${session.data.UaaEndpoint}/Users/${only.id}`, { method: 'DELETE' });
      terminal.ok();
    });

  program
    .command('passwd')
    .alias('pw')
    .description('Change user password')
    .action(async () => {
      const user = requireUser(cf);
      const oldPassword = await terminal.askHidden('Current password');
      const password = await terminal.askHidden('New password');
      const again = await terminal.askHidden('Verify password');
      if (password !== again) throw new CommandError('Password verification does not match.');
      terminal.say();
      terminal.say(terminal.text`Changing password for user ${user}...`);
      const id = session.claims.user_id;
      if (id === undefined) throw new CommandError('Only users have passwords.');
      try {
        await client.call(`${session.data.UaaEndpoint}/Users/${id}/password`, {
          method: 'PUT',
          json: { oldPassword, password },
        });
      } catch (error) {
        if (error instanceof ApiError && error.status === 401)
          throw new CommandError('Current password did not match.', { cause: error });
        throw error;
      }
      session.logOut();
      terminal.ok();
      terminal.say('Please log in again.');
    });
}

/** Returns the guid; undefined when there is such a user. */
async function createInUaa(
  { client, session }: Cf,
  { name, password, origin }: { name: string; password: string | undefined; origin: string },
  isOfUaa: boolean,
): Promise<string | undefined> {
  const json = {
    userName: name,
    origin: isOfUaa ? 'uaa' : origin,
    name: { familyName: name, givenName: name },
    emails: [{ value: name, primary: true }],
    ...(isOfUaa && { password }),
  };
  try {
    const { body } = await client.call<{ id: string }>(`${session.data.UaaEndpoint}/Users`, { method: 'POST', json });
    return body.id;
  } catch (error) {
    if (error instanceof ApiError && error.status === 409) return undefined;
    throw error;
  }
}

async function findInUaa(
  { client, session }: Cf,
  name: string,
  origin: string | undefined,
): Promise<UaaUsers['resources']> {
  const quoted = (text: string): string => JSON.stringify(text);
  const filter = `userName eq ${quoted(name)}` + (origin === undefined ? '' : ` and origin eq ${quoted(origin)}`);
  return (await client.get<UaaUsers>(`${session.data.UaaEndpoint}/Users`, { filter })).resources;
}

async function deleteInApi({ client }: Cf, guid: string): Promise<void> {
  try {
    await client.callAndWait(`/v3/users/${guid}`, { method: 'DELETE' });
  } catch (error) {
    // Whom only UAA knows is gone here already.
    if (!(error instanceof ApiError && error.status === 404)) throw error;
  }
}
