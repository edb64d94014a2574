import { readFileSync } from 'node:fs';
import { Database } from '#db/database.ts';
import { migrate } from '#db/migrate.ts';
import type { Bus } from '#bus/bus.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { ApprovalStore } from './approvals/store.ts';
import { AuditTrail } from './audit/store.ts';
import { ClientStore } from './clients/store.ts';
import type { UaaConfig } from './config.ts';
import { UaaError } from './errors.ts';
import { authorizationCodeGrant } from './grants/authorization-code.ts';
import { clientCredentialsGrant } from './grants/client-credentials.ts';
import type { GrantHandler } from './grants/grant-request.ts';
import { jwtBearerGrant } from './grants/jwt-bearer.ts';
import { passwordGrant } from './grants/password.ts';
import { refreshTokenGrant } from './grants/refresh-token.ts';
import { GroupStore } from './groups/store.ts';
import type { OidcPeer } from './identity/oidc.ts';
import { identityProviders } from './identity/providers.ts';
import type { SamlPeer } from './identity/saml.ts';
import { ShadowUsers } from './identity/shadow-users.ts';
import { KeyRing } from './keys/key-ring.ts';
import { KeyStore } from './keys/store.ts';
import { BrowserDoor } from './login/browser.ts';
import type { Mailer } from './login/mail.ts';
import { hashPassword, SecretChecker } from './passwords/hash.ts';
import { ADMIN_GROUPS, DEFAULT_GROUPS, OTHER_GROUPS, seededClients } from './seed.ts';
import { SessionStore } from './sessions/store.ts';
import { Authenticator } from './sign-in/authenticator.ts';
import { AttemptStore } from './sign-in/store.ts';
import type { UaaTables } from './tables.ts';
import { TokenIssuer } from './tokens/issuer.ts';
import { Revocations } from './tokens/revocations.ts';
import { TokenStore } from './tokens/store.ts';
import { TokenGuard } from './tokens/token-guard.ts';
import { UserStore } from './users/store.ts';

/** Everything that the UAA's endpoints use, wired once. */
export interface Uaa extends AsyncDisposable {
  readonly clock: Clock;
  readonly log: Log;
  readonly config: UaaConfig;
  readonly urls: UaaConfig['urls'];
  readonly issuer_url: string;
  readonly startedAt: Date;
  readonly code_validity_s: number;
  readonly password_policy: UaaConfig['password_policy'];
  readonly database: Database<UaaTables>;
  readonly keys: KeyRing;
  readonly users: UserStore;
  readonly groups: GroupStore;
  readonly approvals: ApprovalStore;
  readonly sessions: SessionStore;
  readonly browser: BrowserDoor;
  readonly mail: Mailer | undefined;
  readonly clients: ClientStore;
  readonly secrets: SecretChecker;
  readonly tokens: TokenStore;
  readonly issuer: TokenIssuer;
  readonly guard: TokenGuard;
  readonly revocations: Revocations;
  readonly authenticator: Authenticator;
  readonly peers: readonly OidcPeer[];
  readonly samlPeers: readonly SamlPeer[];
  readonly audit: AuditTrail;
  readonly grants: ReadonlyMap<string, GrantHandler>;
}

const DAY_MS = 86_400_000;
const SWEEP_MS = 600_000;
const AUDIT_RETENTION_DAYS = 90;

/** Brings the database up to date, sees to keys, groups, clients and the administrator, and starts the rounds. */
export async function openUaa(
  config: UaaConfig,
  context: { log: Log; clock: Clock; bus: Bus; migrations: string },
): Promise<Uaa> {
  const { log, clock, bus } = context;
  await migrate({ url: config.database.url, folder: context.migrations, log });
  await using stack = new AsyncDisposableStack();
  const database = stack.use(new Database<UaaTables>({ ...config.database, application_name: 'uaa', log }));
  const audit = stack.use(new AuditTrail({ database, clock, log }));
  const users = new UserStore({ database, clock, log });
  const groups = new GroupStore(database);
  const clients = new ClientStore(database, clock);
  const tokens = new TokenStore(database);
  await seed(config, { users, groups, clients });
  const { access_token_validity_s, refresh_token_validity_s, refresh_reuse_grace_s } = config.tokens;
  const keyStore = new KeyStore(database);
  const keys = stack.use(
    await KeyRing.open({
      store: keyStore,
      clock,
      log,
      jku: `${config.urls.uaa}/token_keys`,
      rotation_ms: config.tokens.key_rotation_days * DAY_MS,
      retirement_ms: Math.max(refresh_token_validity_s, access_token_validity_s) * 1000 + DAY_MS,
    }),
  );
  const guard = new TokenGuard({ keys, clock, issuer: config.issuer, clients, users, tokens });
  const attempts = new AttemptStore(database, config.lockout);
  const shadows = new ShadowUsers(users, groups);
  const { directories, peers, samlPeers } = await identityProviders(config, { shadows, tokens, clock, log });
  const authenticator = new Authenticator({ users, attempts, audit, clock, providers: directories });
  const revocations = stack.use(new Revocations({ tokens, clients, users, bus, clock, access_token_validity_s }));
  stack.use(clock.every(SWEEP_MS, async () => await sweep({ tokens, audit, clock, log })));
  const issuer = new TokenIssuer({
    keys,
    clock,
    issuer: config.issuer,
    access_token_validity_s,
    refresh_token_validity_s,
  });
  const grants = new Map<string, GrantHandler>([
    ['password', passwordGrant({ authenticator, users, tokens, audit, clock })],
    [
      'refresh_token',
      refreshTokenGrant({ guard, tokens, revocations, users, audit, clock, reuse_grace_s: refresh_reuse_grace_s }),
    ],
    ['client_credentials', clientCredentialsGrant],
    ['authorization_code', authorizationCodeGrant({ tokens, issuer, revocations, users, audit, clock })],
    ['urn:ietf:params:oauth:grant-type:jwt-bearer', jwtBearerGrant({ guard, users, clock, providers: peers })],
  ]);
  const sessions = new SessionStore(database, config.sessions);
  const secret = await keyStore.sharedSecret('forms');
  const mail = config.smtp && stack.use(new (await import('./login/mail.ts')).Mailer(config.smtp));
  const { issuer: issuer_url, urls, password_policy } = config;
  const owned = stack.move();
  return {
    clock,
    log,
    config,
    urls,
    issuer_url,
    startedAt: new Date(clock.now()),
    code_validity_s: config.tokens.code_validity_s,
    password_policy,
    database,
    keys,
    users,
    groups,
    approvals: new ApprovalStore(database),
    sessions,
    browser: new BrowserDoor({ config, clock, sessions, secret }),
    mail,
    clients,
    secrets: new SecretChecker(),
    tokens,
    issuer,
    guard,
    revocations,
    authenticator,
    peers,
    samlPeers,
    audit,
    grants,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

async function seed(
  config: UaaConfig,
  { users, groups, clients }: { users: UserStore; groups: GroupStore; clients: ClientStore },
): Promise<void> {
  await groups.ensure(DEFAULT_GROUPS, true);
  await groups.ensure({ ...OTHER_GROUPS, ...config.groups }, false);
  for (const [client_id, seed] of seededClients(config.client_secrets, config.clients, config.urls.login)) {
    await clients.seed(client_id, seed);
  }
  const { admin } = config;
  const password = admin.password ?? readFileSync(admin.password_file ?? '', 'utf8').trimEnd();
  const [kept] = await users.findByName(admin.username, 'uaa');
  if (kept) {
    if (admin.reset) await users.setPassword(kept.id, await hashPassword(password));
    return;
  }
  try {
    const password_hash = await hashPassword(password);
    const { username: user_name, email } = admin;
    const created = await users.create({ user_name, email, origin: 'uaa', password_hash });
    await groups.join(created.id, ADMIN_GROUPS);
  } catch (error) {
    // Another UAA that starts at the same time was first.
    if (!(error instanceof UaaError)) throw error;
  }
}

async function sweep(of: { tokens: TokenStore; audit: AuditTrail; clock: Clock; log: Log }): Promise<void> {
  const now = of.clock.now();
  try {
    await of.tokens.sweep(new Date(now));
    await of.audit.sweep(new Date(now - AUDIT_RETENTION_DAYS * DAY_MS));
  } catch (error) {
    of.log.warn({ error: describeError(error) }, 'old records not swept');
  }
}
