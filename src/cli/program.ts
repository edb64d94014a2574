import { Command } from 'commander';
import { registerAppSettingCommands } from './commands/app-settings.ts';
import { registerAppCommands } from './commands/apps.ts';
import { registerBuildpackCommands } from './commands/buildpacks.ts';
import { registerConfigCommand } from './commands/config.ts';
import { registerDomainCommands } from './commands/domains.ts';
import { registerEnvCommands } from './commands/env.ts';
import { registerFeatureFlagCommands } from './commands/feature-flags.ts';
import { registerHealthCheckCommands } from './commands/health-checks.ts';
import { helpOf, registerHelpCommand } from './commands/help.ts';
import { registerIsolationSegmentCommands } from './commands/isolation-segments.ts';
import { registerLabelCommands } from './commands/labels.ts';
import { registerOrgInfoCommands } from './commands/org-info.ts';
import { registerOrgCommands } from './commands/orgs.ts';
import { registerPackageCommands } from './commands/packages.ts';
import { registerPlatformCommands } from './commands/platform.ts';
import { registerPushCommand } from './commands/push.ts';
import { registerQuotaCommands } from './commands/quotas.ts';
import { registerRevisionCommands } from './commands/revisions.ts';
import { registerRoleCommands } from './commands/roles.ts';
import { registerRouteSettingCommands } from './commands/route-settings.ts';
import { registerRouteCommands } from './commands/routes.ts';
import { registerRoutePolicyCommands } from './commands/route-policies.ts';
import { registerNetworkPolicyCommands } from './commands/network-policies.ts';
import { registerSecurityGroupCommands } from './commands/security-groups.ts';
import { registerServiceAccessCommands } from './commands/service-access.ts';
import { registerServiceBindingCommands } from './commands/service-bindings.ts';
import { registerServiceBrokerCommands } from './commands/service-brokers.ts';
import { registerServiceInstanceCommands } from './commands/service-instances.ts';
import { registerServiceListCommands } from './commands/service-lists.ts';
import { registerServiceUpkeepCommands } from './commands/service-upkeep.ts';
import { registerSessionCommands } from './commands/session.ts';
import { registerSshCommands } from './commands/ssh.ts';
import { registerTaskCommands } from './commands/tasks.ts';
import { registerUserCommands } from './commands/users.ts';
import type { Cf } from './context.ts';

const VERSION = '8.18.0+ingot';

/** All commands of `cf`. */
export function createProgram(cf: Cf): Command {
  const program = new Command('cf')
    .description('A command line tool to interact with Cloud Foundry')
    .version(`cf version ${VERSION}`, '-v, --version', 'Print the version')
    // Flags of commands may be named as those of cf itself.
    .enablePositionalOptions()
    .configureHelp({ formatHelp: helpOf })
    .configureOutput({ outputError: () => {} })
    .exitOverride();
  for (const register of [
    registerSessionCommands,
    registerConfigCommand,
    registerPushCommand,
    registerAppCommands,
    registerAppSettingCommands,
    registerTaskCommands,
    registerPackageCommands,
    registerRevisionCommands,
    registerHealthCheckCommands,
    registerSshCommands,
    registerEnvCommands,
    registerRouteCommands,
    registerRouteSettingCommands,
    registerRoutePolicyCommands,
    registerDomainCommands,
    registerOrgCommands,
    registerOrgInfoCommands,
    registerUserCommands,
    registerRoleCommands,
    registerQuotaCommands,
    registerSecurityGroupCommands,
    registerNetworkPolicyCommands,
    registerIsolationSegmentCommands,
    registerFeatureFlagCommands,
    registerPlatformCommands,
    registerServiceListCommands,
    registerServiceInstanceCommands,
    registerServiceBindingCommands,
    registerServiceBrokerCommands,
    registerServiceAccessCommands,
    registerServiceUpkeepCommands,
    registerBuildpackCommands,
    registerLabelCommands,
  ]) {
    register(program, cf);
  }
  registerHelpCommand(program, cf, VERSION);
  program
    .command('version')
    .description('Print the version')
    .action(() => cf.terminal.say(`cf version ${VERSION}`));
  return program;
}
