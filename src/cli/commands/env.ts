import type { Command } from 'commander';
import { findApp, requireUser, whereAndWho, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import { formatLogLine, recentLogs, tailLogs } from '../log-tail.ts';
import { friendlyDate, textOf } from '../terminal.ts';

interface AppEnvironment {
  environment_variables: Record<string, string>;
  staging_env_json: Record<string, string>;
  running_env_json: Record<string, string>;
  system_env_json: Record<string, unknown>;
  application_env_json: Record<string, unknown>;
}

interface AuditEvent {
  created_at: string;
  type: string;
  actor: { name: string };
  data: Record<string, unknown>;
}

/** Environment, logs and events of an app, and `curl`. */
export function registerEnvCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;
  const name = (text: string): string => terminal.name(text);

  program
    .command('env')
    .alias('e')
    .description('Show all env variables for an app')
    .argument('<APP_NAME>')
    .action(async (app_name: string) => await showEnv(cf, app_name));

  program
    .command('set-env')
    .alias('se')
    .description('Set an env variable for an app')
    .argument('<APP_NAME>')
    .argument('<variable>')
    .argument('<value>')
    .action(async (app_name: string, variable: string, value: string) => {
      const app = await findApp(cf, app_name);
      terminal.say(`Setting env variable ${name(variable)} for app ${name(app_name)} ${whereAndWho(cf)}...`);
      await client.call(`/v3/apps/${app.guid}/environment_variables`, {
        method: 'PATCH',
        json: { var: { [variable]: value } },
      });
      terminal.ok();
      terminal.say(`TIP: Use 'cf restage ${app_name}' to ensure your env variable changes take effect.`);
    });

  program
    .command('unset-env')
    .alias('ue')
    .description('Remove an env variable from an app')
    .argument('<APP_NAME>')
    .argument('<variable>')
    .action(async (app_name: string, variable: string) => {
      const app = await findApp(cf, app_name);
      terminal.say(`Removing env variable ${name(variable)} from app ${name(app_name)} ${whereAndWho(cf)}...`);
      const { var: present } = await client.get<{ var: Record<string, string> }>(
        `/v3/apps/${app.guid}/environment_variables`,
      );
      if (!Object.hasOwn(present, variable)) terminal.warn(`Env variable ${variable} was not set.`);
      else
        await client.call(`/v3/apps/${app.guid}/environment_variables`, {
          method: 'PATCH',
          json: { var: { [variable]: null } },
        });
      terminal.ok();
      terminal.say(`TIP: Use 'cf restage ${app_name}' to ensure your env variable changes take effect.`);
    });

  program
    .command('logs')
    .description('Tail or show recent logs for an app')
    .argument('<APP_NAME>')
    .option('--recent', 'Dump recent logs instead of tailing')
    .option('--search <text>', 'Only lines that have this text in them, letters in any case')
    .action(async (app_name: string, { recent, search }: { recent?: true; search?: string }) => {
      const app = await findApp(cf, app_name);
      terminal.say(`Retrieving logs for app ${name(app_name)} ${whereAndWho(cf)}...\n`);
      if (recent) {
        for (const line of await recentLogs(cf, app.guid, { limit: 1000, search })) terminal.say(formatLogLine(line));
        return;
      }
      const stop = new AbortController();
      process.once('SIGINT', () => stop.abort());
      process.once('SIGTERM', () => stop.abort());
      const from_ns = BigInt(Date.now()) * 1_000_000n - 1_000_000_000n;
      for await (const line of tailLogs(cf, app.guid, { from_ns, signal: stop.signal, search }))
        terminal.say(formatLogLine(line));
    });

  program
    .command('events')
    .description('Show recent app events')
    .argument('<APP_NAME>')
    .action(async (app_name: string) => {
      const app = await findApp(cf, app_name);
      terminal.say(`Getting events for app ${name(app_name)} ${whereAndWho(cf)}...\n`);
      const query = { target_guids: app.guid, order_by: '-created_at', per_page: 50, page: 1 };
      const { resources } = await client.get<{ resources: AuditEvent[] }>('/v3/audit_events', query);
      if (resources.length === 0) return terminal.say('No events found.');
      const rows = resources.map((event) => [
        friendlyDate(event.created_at),
        event.type,
        event.actor.name,
        describeData(event.data),
      ]);
      terminal.table([['time', 'event', 'actor', 'description'], ...rows]);
    });

  program
    .command('curl')
    .description('Executes a request to the targeted API endpoint')
    .argument('<path>')
    .option('-X <method>', 'HTTP method (GET,POST,PUT,DELETE,etc)')
    .option('-d <data>', 'HTTP data to include in the request body, or @file')
    .option(
      '-H <header>',
      'Custom headers to include in the request, flag can be specified multiple times',
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option('-i', 'Include response headers in the output')
    .option('--fail', 'Server errors return exit code 22')
    .action(async (path: string, flags: CurlFlags) => await curl(cf, path, flags));
}

async function showEnv(cf: Cf, app_name: string): Promise<void> {
  const { terminal, client } = cf;
  const app = await findApp(cf, app_name);
  terminal.say(`Getting env variables for app ${terminal.name(app_name)} ${whereAndWho(cf)}...`);
  const env = await client.get<AppEnvironment>(`/v3/apps/${app.guid}/env`);
  const system = [...Object.entries(env.system_env_json), ...Object.entries(env.application_env_json)];
  terminal.say('\nSystem-Provided:');
  if (system.length === 0) terminal.say('No system-provided env variables have been set');
  for (const [key, value] of system) terminal.say(`${key}: ${JSON.stringify(value, undefined, 2)}\n`);
  const groups = [
    ['User-Provided:', 'No user-provided env variables have been set', env.environment_variables],
    ['Running Environment Variable Groups:', 'No running env variables have been set', env.running_env_json],
    ['Staging Environment Variable Groups:', 'No staging env variables have been set', env.staging_env_json],
  ] as const;
  for (const [title, none, variables] of groups) {
    const entries = Object.entries(variables);
    terminal.say(entries.length === 0 ? none : title);
    terminal.facts(entries.map(([key, value]) => [`${key}:`, value]));
    terminal.say();
  }
}

/** The facts of an event that people look for, as the public CLI picks them. */
function describeData(data: Record<string, unknown>): string {
  const KEYS = [
    'index',
    'reason',
    'cell_id',
    'instance',
    'exit_description',
    'exit_status',
    'recursive',
    'disk_in_mb',
    'memory_in_mb',
    'instances',
    'state',
  ];
  const request =
    typeof data['request'] === 'object' && data['request'] !== null ? (data['request'] as Record<string, unknown>) : {};
  const all = { ...request, ...data };
  return KEYS.flatMap((key) =>
    all[key] === undefined || all[key] === null ? [] : [`${key}: ${textOf(all[key])}`],
  ).join(', ');
}

interface CurlFlags {
  X?: string;
  d?: string;
  H: string[];
  i?: true;
  fail?: true;
}

async function curl(cf: Cf, path: string, flags: CurlFlags): Promise<void> {
  const { terminal, client } = cf;
  requireUser(cf);
  const method = (flags.X ?? (flags.d === undefined ? 'GET' : 'POST')).toUpperCase();
  const headers = Object.fromEntries(
    flags.H.map((line) => {
      const colon = line.indexOf(':');
      if (colon < 1) throw new CommandError(`Error creating request: header '${line}' has no colon`);
      return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const body = flags.d?.startsWith('@')
    ? await (await import('node:fs/promises')).readFile(flags.d.slice(1), 'utf8')
    : flags.d;
  const answer = await client.raw(path.startsWith('/') ? path : `/${path}`, {
    method: method as 'GET',
    // As the public CLI has it: what is sent is JSON unless a header says otherwise.
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body }),
  });
  if (flags.i) {
    terminal.say(`HTTP/1.1 ${answer.status}`);
    for (const [key, value] of Object.entries(answer.headers)) terminal.say(`${key}: ${String(value)}`);
    terminal.say();
  }
  terminal.say(answer.text);
  if (flags.fail && answer.status >= 400) process.exitCode = 22;
}
