/** The commands in the order and groups in which the public CLI lists them. Source: cloudfoundry/cli command/common/internal. */
export const COMMAND_GROUPS: readonly (readonly [title: string, rows: readonly string[]])[] = [
  ['GETTING STARTED:', ['help version login logout passwd target', 'api auth']],
  [
    'APPS:',
    [
      'apps app create-app',
      'push scale delete rename',
      'cancel-deployment continue-deployment',
      'start stop restart stage-package restage restart-app-instance',
      'run-task task tasks terminate-task',
      'packages create-package',
      'revision revisions rollback',
      'droplets set-droplet download-droplet',
      'events logs',
      'env set-env unset-env',
      'stacks stack update-stack',
      'copy-source create-app-manifest',
      'get-health-check set-health-check get-readiness-health-check',
      'enable-ssh disable-ssh ssh-enabled ssh',
    ],
  ],
  [
    'SERVICES:',
    [
      'marketplace services service',
      'create-service update-service upgrade-service delete-service rename-service',
      'create-service-key service-keys service-key delete-service-key',
      'bind-service unbind-service cleanup-outdated-service-bindings',
      'bind-route-service unbind-route-service',
      'create-user-provided-service update-user-provided-service',
      'share-service unshare-service',
    ],
  ],
  ['ORGS:', ['orgs org', 'create-org delete-org rename-org']],
  [
    'SPACES:',
    [
      'spaces space',
      'create-space delete-space rename-space apply-manifest',
      'allow-space-ssh disallow-space-ssh space-ssh-allowed',
    ],
  ],
  [
    'DOMAINS:',
    [
      'domains',
      'create-private-domain delete-private-domain',
      'create-shared-domain delete-shared-domain',
      'router-groups',
    ],
  ],
  [
    'ROUTES:',
    [
      'routes route',
      'create-route update-route check-route map-route unmap-route delete-route',
      'delete-orphaned-routes',
      'update-destination',
      'share-route unshare-route',
      'move-route',
      'route-policies add-route-policy remove-route-policy',
    ],
  ],
  ['NETWORK POLICIES:', ['network-policies add-network-policy remove-network-policy']],
  ['BUILDPACKS:', ['buildpacks create-buildpack update-buildpack delete-buildpack']],
  [
    'USER ADMIN:',
    ['create-user delete-user', 'org-users set-org-role unset-org-role', 'space-users set-space-role unset-space-role'],
  ],
  [
    'ORG ADMIN:',
    [
      'org-quotas org-quota set-org-quota',
      'create-org-quota delete-org-quota update-org-quota',
      'share-private-domain unshare-private-domain',
    ],
  ],
  [
    'SPACE ADMIN:',
    [
      'space-quotas space-quota',
      'create-space-quota update-space-quota delete-space-quota',
      'set-space-quota unset-space-quota',
    ],
  ],
  [
    'SERVICE ADMIN:',
    [
      'service-brokers create-service-broker update-service-broker delete-service-broker rename-service-broker',
      'purge-service-offering purge-service-instance',
      'service-access enable-service-access disable-service-access',
    ],
  ],
  [
    'SECURITY GROUP:',
    [
      'security-group security-groups create-security-group update-security-group delete-security-group bind-security-group unbind-security-group',
      'bind-staging-security-group staging-security-groups unbind-staging-security-group',
      'bind-running-security-group running-security-groups unbind-running-security-group',
    ],
  ],
  [
    'ENVIRONMENT VARIABLE GROUPS:',
    [
      'running-environment-variable-group staging-environment-variable-group set-staging-environment-variable-group set-running-environment-variable-group',
    ],
  ],
  [
    'ISOLATION SEGMENTS:',
    [
      'isolation-segments create-isolation-segment delete-isolation-segment enable-org-isolation disable-org-isolation set-org-default-isolation-segment reset-org-default-isolation-segment set-space-isolation-segment reset-space-isolation-segment',
    ],
  ],
  ['FEATURE FLAGS:', ['feature-flags feature-flag enable-feature-flag disable-feature-flag']],
  ['METADATA:', ['labels set-label unset-label']],
  ['ADVANCED:', ['curl config oauth-token ssh-code']],
];

/** What `cf help` shows, column by column. */
export const COMMON_COMMANDS: readonly (readonly [title: string, columns: readonly string[]])[] = [
  ['Before getting started', ['config help', 'login logout', 'target']],
  [
    'Application lifecycle',
    [
      'apps push start stop restart restage',
      'run-task logs ssh app env scale',
      'events set-env create-app-manifest delete apply-manifest revisions',
    ],
  ],
  [
    'Services integration',
    [
      'marketplace services create-service update-service delete-service service bind-service unbind-service',
      'create-user-provided-service update-user-provided-service create-service-key delete-service-key service-keys service-key bind-route-service unbind-route-service',
    ],
  ],
  [
    'Route and domain management',
    ['routes domains create-route', 'delete-route map-route unmap-route', 'create-private-domain'],
  ],
  [
    'Space management',
    ['spaces space-users apply-manifest', 'create-space delete-space', 'set-space-role unset-space-role'],
  ],
  ['Org management', ['orgs org-users', 'set-org-role unset-org-role']],
];
