import { ClientSeed } from './config.ts';

/** The clients that every Cloud Foundry has. Source: the reference's section 4.4 (cf-deployment's uaa.clients). */
const CLIENTS: Record<string, Omit<ReturnType<typeof client>, 'secret'>> = {
  cf: client({
    scope: [
      'network.admin',
      'network.write',
      'cloud_controller.read',
      'cloud_controller.write',
      'cloud_controller.admin',
      'cloud_controller.admin_read_only',
      'cloud_controller.global_auditor',
      'openid',
      'password.write',
      'scim.read',
      'scim.write',
      'doppler.firehose',
      'uaa.user',
      'routing.router_groups.read',
      'routing.router_groups.write',
      'perm.admin',
      'clients.read',
    ],
    authorized_grant_types: ['password', 'refresh_token', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
    access_token_validity: 1_200,
    refresh_token_validity: 2_592_000,
  }),
  'ssh-proxy': client({
    scope: ['openid', 'cloud_controller.read', 'cloud_controller.write', 'cloud_controller.admin'],
    authorized_grant_types: ['authorization_code'],
    autoapprove: ['true'],
  }),
  cloud_controller_username_lookup: machine('scim.userids', 'scim.read'),
  'cc-service-dashboards': machine('clients.read', 'clients.write', 'clients.admin'),
  cc_routing: machine('routing.router_groups.read'),
  doppler: machine('uaa.resource'),
  gorouter: machine('routing.routes.read'),
  'network-policy': machine('uaa.resource', 'cloud_controller.admin_read_only'),
  tcp_emitter: machine('routing.routes.write', 'routing.routes.read', 'routing.router_groups.read'),
  tcp_router: machine('routing.routes.read', 'routing.router_groups.read'),
  routing_api_client: machine('uaa.resource'),
  cf_smoke_tests: machine('cloud_controller.admin', 'clients.read'),
};

/** Groups of which every new user is a member. */
export const DEFAULT_GROUPS: Readonly<Record<string, string>> = {
  openid: 'Access profile information, i.e. email, first and last name, and phone number',
  'password.write': 'Change your password',
  'scim.me': 'Read and write your own account',
  'cloud_controller.read': 'View details of your applications and services',
  'cloud_controller.write': 'Push applications to your account and create and bind services',
  'cloud_controller_service_permissions.read': 'View what you may do with service instances',
  'uaa.user': 'Act as a user in the UAA',
  'approvals.me': 'Manage your approvals',
  'oauth.approvals': 'Manage approved scopes',
  profile: 'Read your name and user name',
  roles: 'Access your roles',
  user_attributes: 'Access your custom attributes',
  'uaa.offline_token': 'Allow offline access',
  'notification_preferences.read': 'View your notification preferences',
  'notification_preferences.write': 'Change your notification preferences',
  'scim.userids': 'Read user IDs and retrieve users by ID',
};

/** Groups that are there, with only those members whom somebody adds. */
export const OTHER_GROUPS: Readonly<Record<string, string>> = {
  'cloud_controller.admin': 'Do everything in the cloud controller',
  'cloud_controller.admin_read_only': 'See everything in the cloud controller',
  'cloud_controller.global_auditor': 'See everything in the cloud controller but secrets',
  'cloud_controller.update_build_state': 'Report the state of builds',
  'clients.read': 'Read information about clients',
  'clients.write': 'Create and change clients',
  'clients.admin': 'Create, change and delete clients',
  'clients.secret': "Change a client's own secret",
  'doppler.firehose': 'Read the logs and metrics of everything',
  'network.admin': 'Manage all network policies',
  'network.write': 'Manage network policies of your apps',
  'perm.admin': 'Manage permissions',
  'routing.router_groups.read': 'Read router groups',
  'routing.router_groups.write': 'Change router groups',
  'routing.routes.read': 'Read routes',
  'routing.routes.write': 'Change routes',
  'scim.read': 'Read users and groups',
  'scim.write': 'Create, change and delete users and groups',
  'scim.create': 'Create users',
  'scim.invite': 'Invite users',
  'groups.update': 'Change groups',
  'uaa.admin': 'Do everything in the UAA',
  'uaa.resource': 'Check the tokens of others',
  'uaa.none': 'Do nothing',
  'tokens.list': 'List the tokens of users and clients',
  'tokens.revoke': 'Revoke the tokens of users and clients',
};

/** What the first administrator is a member of besides the default groups. */
export const ADMIN_GROUPS: readonly string[] = [
  'clients.read',
  'cloud_controller.admin',
  'doppler.firehose',
  'network.admin',
  'routing.router_groups.read',
  'routing.router_groups.write',
  'scim.read',
  'scim.write',
];

/**
 * The clients to have at start: those above that have a secret in `secrets` (`cf` has an empty one; `ssh-proxy` can issue codes
 * without one, and nobody redeem them), then those of the configuration, which may stand in their place.
 */
export function seededClients(
  secrets: Readonly<Record<string, string>>,
  configured: Readonly<Record<string, ClientSeed>>,
  loginUrl: string,
): Map<string, ClientSeed> {
  const all = new Map<string, ClientSeed>();
  for (const [client_id, seed] of Object.entries(CLIENTS)) {
    const secret = secrets[client_id] ?? (client_id === 'cf' ? '' : null);
    if (secret === null && client_id !== 'ssh-proxy') continue;
    const redirect_uri = client_id === 'ssh-proxy' ? [`${loginUrl}/login`] : seed.redirect_uri;
    all.set(client_id, { ...seed, secret, redirect_uri });
  }
  for (const [client_id, seed] of Object.entries(configured)) all.set(client_id, seed);
  return all;
}

function client(seed: Parameters<typeof ClientSeed.parse>[0]): ClientSeed {
  return ClientSeed.parse(seed);
}

function machine(...authorities: string[]): ClientSeed {
  return client({ authorities, authorized_grant_types: ['client_credentials'] });
}
