import type { Command } from 'commander';
import { findApp, requireUser, whereAndWho, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import { wholeNumber } from '../quantities.ts';

interface HealthCheck {
  type: string;
  data: { endpoint?: string | null; invocation_timeout?: number | null; interval?: number | null };
}

interface CheckedProcess {
  type: string;
  health_check: HealthCheck;
  readiness_health_check: HealthCheck;
}

interface Feature {
  enabled: boolean;
  reason?: string;
}

/** How an app is watched, and whether one may enter it by ssh. */
export function registerHealthCheckCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('get-health-check <APP_NAME>')
    .description('Show the type of health check performed on an app')
    .action(
      async (app_name: string) =>
        await showChecks(cf, app_name, {
          what: 'health check',
          head: ['process', 'health check', 'endpoint (for http)', 'invocation timeout'],
          row: ({ type, health_check: { type: check, data } }) => [
            type,
            check,
            check === 'http' ? (data.endpoint ?? '') : '',
            String(data.invocation_timeout ?? 1),
          ],
        }),
    );

  program
    .command('get-readiness-health-check <APP_NAME>')
    .description('Show the type of readiness health check performed on an app')
    .action(
      async (app_name: string) =>
        await showChecks(cf, app_name, {
          what: 'readiness health check',
          head: ['process', 'type', 'endpoint (for http)', 'invocation timeout', 'interval'],
          row: ({ type, readiness_health_check: { type: check, data } }) => [
            type,
            check,
            check === 'http' ? (data.endpoint ?? '') : '',
            String(data.invocation_timeout ?? ''),
            String(data.interval ?? ''),
          ],
        }),
    );

  program
    .command('set-health-check <APP_NAME> <HEALTH_CHECK_TYPE>')
    .description("Change type of health check performed on an app's process")
    .option('--endpoint <path>', 'Path that an http check asks for', '/')
    .option('--invocation-timeout <seconds>', 'Time that one check may take')
    .option('--process <type>', 'Process to change', 'web')
    .action(
      async (
        app_name: string,
        type: string,
        flags: { endpoint: string; invocationTimeout?: string; process: string },
      ) => {
        if (!['http', 'port', 'process'].includes(type))
          throw new CommandError('Incorrect Usage: HEALTH_CHECK_TYPE must be "port", "process", or "http"');
        if (flags.endpoint !== '/' && type !== 'http')
          throw new CommandError("Health check type must be 'http' to set a health check HTTP endpoint.");
        terminal.say(
          terminal.text`Updating health check type for app ${app_name} process ${flags.process} ` +
            `${whereAndWho(cf)}...\n`,
        );
        const app = await findApp(cf, app_name);
        const data = {
          ...(type === 'http' && { endpoint: flags.endpoint }),
          ...(flags.invocationTimeout !== undefined && {
            invocation_timeout: wholeNumber(flags.invocationTimeout, '--invocation-timeout'),
          }),
        };
        await client.call(`/v3/apps/${app.guid}/processes/${flags.process}`, {
          method: 'PATCH',
          json: { health_check: { type, data } },
        });
        terminal.ok();
        if (app.state === 'STARTED') terminal.say('TIP: An app restart is required for the change to take effect.');
      },
    );

  for (const [verb, doing, enabled] of [
    ['enable', 'Enabling', true],
    ['disable', 'Disabling', false],
  ] as const) {
    program
      .command(`${verb}-ssh <APP_NAME>`)
      .description(`${verb === 'enable' ? 'Enable' : 'Disable'} ssh for the application`)
      .action(async (app_name: string) => {
        terminal.say(`${doing} ssh support ` + terminal.text`for app ${app_name} as ${requireUser(cf)}...`);
        const app = await findApp(cf, app_name);
        const path = `/v3/apps/${app.guid}/features/ssh`;
        const isAlready = (await client.get<Feature>(path)).enabled === enabled;
        if (isAlready) terminal.say(`ssh support for app '${app_name}' is already ${verb}d.`);
        await client.call(path, { method: 'PATCH', json: { enabled } });
        terminal.ok();
        if (!enabled) return;
        const { enabled: isOpen } = await client.get<Feature>(`/v3/apps/${app.guid}/ssh_enabled`);
        if (!isOpen) terminal.say('TIP: Ensure ssh is also enabled on the space and global level.');
      });
  }

  program
    .command('ssh-enabled <APP_NAME>')
    .description('Reports whether SSH is enabled on an application container instance')
    .action(async (app_name: string) => {
      const app = await findApp(cf, app_name);
      const { enabled, reason } = await client.get<Feature>(`/v3/apps/${app.guid}/ssh_enabled`);
      terminal.say(`ssh support is ${enabled ? 'enabled' : 'disabled'} for app '${app_name}'.`);
      if (!enabled && reason) terminal.say(reason);
    });
}

interface CheckTable {
  what: string;
  head: readonly string[];
  row: (process: CheckedProcess) => string[];
}

async function showChecks(cf: Cf, app_name: string, { what, head, row }: CheckTable): Promise<void> {
  const { terminal, client } = cf;
  terminal.say(`Getting ${what} type for app ${terminal.name(app_name)} ${whereAndWho(cf)}...\n`);
  const app = await findApp(cf, app_name);
  const { resources } = await client.list<{ guid: string; type: string }>(`/v3/apps/${app.guid}/processes`);
  if (resources.length === 0) return terminal.say('App has no processes');
  const all = await Promise.all(
    resources.map(async ({ guid }) => await client.get<CheckedProcess>(`/v3/processes/${guid}`)),
  );
  terminal.table([head, ...all.map(row)]);
}
