import type { Command } from 'commander';
import { CfClient } from '../client.ts';
import { findByName, requireUser, type Cf } from '../context.ts';
import { ApiError, CommandError, noApi, notFoundError } from '../errors.ts';
import type { Named } from '../resources.ts';
import type { SessionData } from '../session.ts';

interface RootDocument {
  links: Record<string, { href: string; meta?: { version?: string; oauth_client?: string } } | null>;
}

/** Sets the API endpoint: reads its root document and keeps the links. */
async function setApi(cf: Cf, url: string, skip_ssl_validation: boolean): Promise<void> {
  const target = (/^https?:\/\//.test(url) ? url : `https://${url}`).replace(/\/+$/, '');
  const client = new CfClient({
    session: cf.session,
    onWarning: (text) => cf.terminal.warn(text),
    skip_ssl_validation,
  });
  let links: RootDocument['links'];
  try {
    ({ links } = (await client.open<RootDocument>(target)).body);
  } catch (error) {
    if (error instanceof ApiError) throw new CommandError(`API endpoint not found at '${target}'`, { cause: error });
    throw error;
  } finally {
    await client.close();
  }
  const href = (name: string): string => links[name]?.href ?? '';
  const isOther = cf.session.data.Target !== target;
  const change: Partial<SessionData> = {
    Target: target,
    APIVersion: links['cloud_controller_v3']?.meta?.version ?? '',
    AuthorizationEndpoint: href('login') || href('uaa'),
    UaaEndpoint: href('uaa'),
    LogCacheEndPoint: href('log_cache'),
    DopplerEndPoint: href('logging'),
    RoutingAPIEndpoint: href('routing'),
    NetworkPolicyV1Endpoint: href('network_policy_v1'),
    SSHOAuthClient: links['app_ssh']?.meta?.oauth_client ?? '',
    SSLDisabled: skip_ssl_validation,
  };
  cf.session.update(change);
  if (isOther) cf.session.logOut();
}

function showTarget({ session, terminal }: Cf): void {
  const { data } = session;
  terminal.facts([
    ['API endpoint:', data.Target],
    ['API version:', data.APIVersion],
    ...(data.AccessToken === '' ? [] : ([['user:', session.userName]] as const)),
    ...(data.OrganizationFields.Name === '' ? [] : ([['org:', data.OrganizationFields.Name]] as const)),
    ...(data.SpaceFields.Name === '' ? [] : ([['space:', data.SpaceFields.Name]] as const)),
  ]);
}

function hintLogin({ terminal }: Cf): void {
  terminal.say("Not logged in. Use 'cf login' or 'cf login --sso' to log in.");
}

async function targetOrg(cf: Cf, name: string): Promise<void> {
  const org = await findByName<Named>(cf, '/v3/organizations', name);
  if (!org) throw notFoundError('Organization', name);
  cf.session.update({
    OrganizationFields: { GUID: org.guid, Name: org.name },
    SpaceFields: { GUID: '', Name: '', AllowSSH: false },
  });
}

async function targetSpace(cf: Cf, name: string): Promise<void> {
  const org = cf.session.data.OrganizationFields;
  if (org.GUID === '') throw new CommandError('An org must be targeted before targeting a space');
  const space = await findByName<Named>(cf, '/v3/spaces', name, { organization_guids: org.GUID });
  if (!space) throw notFoundError('Space', name);
  cf.session.update({ SpaceFields: { GUID: space.guid, Name: space.name, AllowSSH: true } });
}

/** The only one of a list is targeted without a word; of several a person chooses. */
async function chooseTarget(cf: Cf, kind: 'org' | 'space', names: readonly string[]): Promise<string | undefined> {
  if (names.length <= 1) return names[0];
  if (!cf.terminal.isInteractive) return undefined;
  cf.terminal.say(`\nSelect an ${kind}:`.replace('an space', 'a space'));
  names.forEach((name, n) => cf.terminal.say(`${n + 1}. ${name}`));
  const answer = await cf.terminal.ask(`\n${kind === 'org' ? 'Org' : 'Space'} (enter to skip)`);
  return names[Number(answer) - 1] ?? names.find((name) => name === answer);
}

interface LoginFlags {
  a?: string;
  u?: string;
  p?: string;
  o?: string;
  s?: string;
  sso?: true;
  ssoPasscode?: string;
  origin?: string;
  skipSslValidation?: true;
}

async function login(cf: Cf, flags: LoginFlags): Promise<void> {
  const { terminal, session } = cf;
  const url = flags.a ?? (session.data.Target || (await terminal.ask('API endpoint')));
  terminal.say(`API endpoint: ${terminal.name(url)}\n`);
  await setApi(cf, url, flags.skipSslValidation ?? session.data.SSLDisabled);
  session.logOut();
  session.update({ UAAOAuthClient: 'cf', UAAOAuthClientSecret: '' });
  await authenticateUser(cf, flags);
  await targetAfterLogin(cf, flags);
  terminal.say();
  showTarget(cf);
}

async function authenticateUser(cf: Cf, flags: LoginFlags): Promise<void> {
  const { terminal, client, session } = cf;
  const hint: Record<string, string> =
    flags.origin === undefined ? {} : { login_hint: JSON.stringify({ origin: flags.origin }) };
  const isFixed = flags.p !== undefined || flags.ssoPasscode !== undefined;
  for (let tries = isFixed || !terminal.isInteractive ? 1 : 3; tries > 0; tries--) {
    let form: Record<string, string>;
    if (flags.sso || flags.ssoPasscode !== undefined) {
      const passcode =
        flags.ssoPasscode ??
        (await terminal.askHidden(
          `Temporary Authentication Code ( Get one at ${session.data.AuthorizationEndpoint}/passcode )`,
        ));
      form = { grant_type: 'password', passcode };
    } else {
      const username = flags.u ?? (await terminal.ask('Email'));
      form = { grant_type: 'password', username, password: flags.p ?? (await terminal.askHidden('Password')), ...hint };
    }
    terminal.say('Authenticating...');
    try {
      await client.authenticate(form, { id: 'cf', secret: '' });
      terminal.ok();
      return;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status >= 500) throw error;
      terminal.warn('Credentials were rejected, please try again.');
    }
  }
  throw new CommandError('Unable to authenticate.');
}

async function targetAfterLogin(cf: Cf, flags: LoginFlags): Promise<void> {
  const { client, terminal, session } = cf;
  const orgs =
    flags.o === undefined
      ? (await client.list<Named>('/v3/organizations', { order_by: 'name', per_page: 100 })).resources
      : [];
  const org =
    flags.o ??
    (await chooseTarget(
      cf,
      'org',
      orgs.map(({ name }) => name),
    ));
  if (org === undefined) return;
  await targetOrg(cf, org);
  terminal.say(`\nTargeted org ${terminal.name(org)}.`);
  const query = { order_by: 'name', per_page: 100, organization_guids: session.data.OrganizationFields.GUID };
  const spaces = flags.s === undefined ? (await client.list<Named>('/v3/spaces', query)).resources : [];
  const space =
    flags.s ??
    (await chooseTarget(
      cf,
      'space',
      spaces.map(({ name }) => name),
    ));
  if (space === undefined) return;
  await targetSpace(cf, space);
  terminal.say(`\nTargeted space ${terminal.name(space)}.`);
}

export function registerSessionCommands(program: Command, cf: Cf): void {
  const { terminal, session, client } = cf;

  program
    .command('api')
    .description('Set or view target api url')
    .argument('[url]', 'API URL to target')
    .option('--skip-ssl-validation', 'Skip verification of the API endpoint. Not recommended!')
    .option('--unset', 'Remove the stored API endpoint')
    .action(async (url: string | undefined, flags: { skipSslValidation?: true; unset?: true }) => {
      if (flags.unset) {
        terminal.say('Unsetting API endpoint...');
        session.logOut();
        session.update({
          Target: '',
          APIVersion: '',
          AuthorizationEndpoint: '',
          UaaEndpoint: '',
          LogCacheEndPoint: '',
        });
        return terminal.ok();
      }
      if (url === undefined) {
        if (session.data.Target === '') throw noApi();
        return showTarget(cf);
      }
      terminal.say(`Setting API endpoint to ${terminal.name(url)}...`);
      await setApi(cf, url, flags.skipSslValidation ?? false);
      terminal.ok();
      showTarget(cf);
      if (session.data.AccessToken === '') hintLogin(cf);
    });

  program
    .command('login')
    .alias('l')
    .description('Log user in')
    .option('-a <url>', 'API endpoint (e.g. https://api.example.com)')
    .option('-u <username>', 'Username')
    .option('-p <password>', 'Password')
    .option('-o <org>', 'Org')
    .option('-s <space>', 'Space')
    .option('--sso', 'Prompt for a one-time passcode to login')
    .option('--sso-passcode <passcode>', 'One-time passcode')
    .option('--origin <origin>', 'Indicates the identity provider to be used for login')
    .option('--skip-ssl-validation', 'Skip verification of the API endpoint. Not recommended!')
    .action(async (flags: LoginFlags) => await login(cf, flags));

  program
    .command('auth')
    .description('Authenticate non-interactively')
    .argument('[username]', 'user name or client id; CF_USERNAME otherwise')
    .argument('[password]', 'password or client secret; CF_PASSWORD otherwise')
    .option('--client-credentials', 'Use (non-user) service account (also called client credentials)')
    .option('--origin <origin>', 'Indicates the identity provider to be used for authentication')
    .action(
      async (
        user: string | undefined,
        secret: string | undefined,
        flags: { clientCredentials?: true; origin?: string },
      ) => {
        if (session.data.Target === '') throw noApi();
        const username = user ?? process.env['CF_USERNAME'];
        const password = secret ?? process.env['CF_PASSWORD'];
        if (username === undefined || password === undefined)
          throw new CommandError('Username and password not provided.');
        terminal.say(`API endpoint: ${terminal.name(session.data.Target)}\n\nAuthenticating...`);
        session.logOut();
        const asClient = flags.clientCredentials === true;
        const oauth = asClient ? { id: username, secret: password } : { id: 'cf', secret: '' };
        session.update({
          UAAOAuthClient: oauth.id,
          UAAOAuthClientSecret: oauth.secret,
          UAAGrantType: asClient ? 'client_credentials' : '',
        });
        const hint: Record<string, string> =
          flags.origin === undefined ? {} : { login_hint: JSON.stringify({ origin: flags.origin }) };
        try {
          await client.authenticate(
            asClient ? { grant_type: 'client_credentials' } : { grant_type: 'password', username, password, ...hint },
            oauth,
          );
        } catch (error) {
          if (error instanceof ApiError && error.status < 500)
            throw new CommandError('Credentials were rejected, please try again.', { cause: error });
          throw error;
        }
        terminal.ok();
        terminal.say("Use 'cf target' to view or set your target org and space.");
      },
    );

  program
    .command('logout')
    .alias('lo')
    .description('Log user out')
    .action(() => {
      terminal.say(`Logging out ${terminal.name(session.userName)}...`);
      session.logOut();
      terminal.ok();
    });

  program
    .command('target')
    .alias('t')
    .description('Set or view the targeted org or space')
    .option('-o <org>', 'Organization')
    .option('-s <space>', 'Space')
    .action(async (flags: { o?: string; s?: string }) => {
      requireUser(cf);
      if (flags.o !== undefined) await targetOrg(cf, flags.o);
      if (flags.s !== undefined) await targetSpace(cf, flags.s);
      showTarget(cf);
      const { OrganizationFields, SpaceFields } = session.data;
      if (OrganizationFields.Name === '') terminal.say("No org or space targeted, use 'cf target -o ORG -s SPACE'");
      else if (SpaceFields.Name === '') terminal.say("No space targeted, use 'cf target -s SPACE'");
    });

  program
    .command('oauth-token')
    .description('Display the OAuth token for the current session')
    .action(async () => {
      requireUser(cf);
      await client.refresh();
      terminal.say(session.data.AccessToken);
    });
}
