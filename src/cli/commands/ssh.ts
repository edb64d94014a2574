import type { Command } from 'commander';
import { findApp, requireSpace, requireUser, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import { wholeNumber } from '../quantities.ts';
import type { InstanceStats, Process } from '../resources.ts';
import { SshConnection, type Forward } from '../ssh-client.ts';

interface SshFlags {
  command?: string[];
  appInstanceIndex: number;
  process: string;
  L?: Forward[];
  disablePseudoTty?: boolean;
  forcePseudoTty?: boolean;
  requestPseudoTty?: boolean;
  skipHostValidation?: boolean;
  skipRemoteExecution?: boolean;
}

interface RootLinks {
  app_ssh: { href: string; meta: { host_key_fingerprint: string | null } } | null;
}

/** `cf ssh` and what belongs to it. */
export function registerSshCommands(program: Command, cf: Cf): void {
  const many = <T>(parse: (text: string) => T) => {
    return (text: string, before: T[] = []): T[] => [...before, parse(text)];
  };

  program
    .command('ssh <APP_NAME>')
    .description('SSH to an application container instance')
    .option('-c, --command <COMMAND>', 'Command to run', many(String))
    .option(
      '-i, --app-instance-index <INDEX>',
      'App process instance index',
      (text) => wholeNumber(text, '--app-instance-index'),
      0,
    )
    .option('--process <PROCESS>', 'App process name', 'web')
    .option(
      '-L <SPEC>',
      'Local port forward specification: [BIND_ADDRESS:]LOCAL_PORT:REMOTE_HOST:REMOTE_PORT',
      many(parseForward),
    )
    .option('-T, --disable-pseudo-tty', 'Disable pseudo-tty allocation')
    .option('--force-pseudo-tty', 'Force pseudo-tty allocation')
    .option('-t, --request-pseudo-tty', 'Request pseudo-tty allocation')
    .option('-k, --skip-host-validation', 'Skip host key validation. Not recommended!')
    .option('-N, --skip-remote-execution', 'Do not execute a remote command')
    .action(async (app_name: string, flags: SshFlags) => {
      const tty = wantsTerminal(flags);
      const { href, fingerprint } = await endpoint(cf);
      const username = await instanceOf(cf, app_name, flags);
      const { host, port } = hostAndPort(href);
      await using connection = await SshConnection.open({
        host: /(^|\.)localhost$/i.test(host) ? '127.0.0.1' : host,
        port,
        fingerprint: flags.skipHostValidation ? undefined : fingerprint,
        username,
        passcode: await passcode(cf),
      });
      for (const forward of flags.L ?? []) await connection.forward(forward);
      if (flags.skipRemoteExecution) await connection.closed;
      else process.exitCode = await connection.run(flags.command?.join(' '), { tty });
    });

  program
    .command('ssh-code')
    .description('Get a one time password for ssh clients')
    .action(async () => {
      requireUser(cf);
      cf.terminal.say(await passcode(cf));
    });
}

function wantsTerminal(flags: SshFlags): boolean {
  const asked = [flags.disablePseudoTty, flags.forcePseudoTty, flags.requestPseudoTty].filter(Boolean);
  if (asked.length > 1) {
    throw new CommandError(
      'Incorrect Usage: The following arguments cannot be used together: --disable-pseudo-tty, -T, --force-pseudo-tty, --request-pseudo-tty, -t',
    );
  }
  if (flags.forcePseudoTty) return true;
  if (flags.disablePseudoTty) return false;
  return process.stdin.isTTY && (flags.requestPseudoTty === true || flags.command === undefined);
}

/** `[BIND_ADDRESS:]LOCAL_PORT:REMOTE_HOST:REMOTE_PORT`; an IPv6 address stands in brackets. Errors: CommandError. */
function parseForward(text: string): Forward {
  const parts = text.match(/\[[^\]]*\]|[^:[\]]+|(?<=^|:)(?=:)/g) ?? [];
  const [bind_address, bind_port, host, port] = parts.length === 3 ? ['localhost', ...parts] : parts;
  const numbers = [Number(bind_port), Number(port)];
  const isWhole = numbers.every((number) => Number.isInteger(number) && number > 0 && number <= 65_535);
  if (parts.length < 3 || parts.length > 4 || bind_address === undefined || host === undefined || !isWhole) {
    throw new CommandError(
      `Incorrect Usage: Bad local forwarding specification '${text}'; it is [BIND_ADDRESS:]LOCAL_PORT:REMOTE_HOST:REMOTE_PORT`,
    );
  }
  const bare = (address: string): string => address.replace(/^\[|\]$/g, '');
  return { bind_address: bare(bind_address), bind_port: Number(bind_port), host: bare(host), port: Number(port) };
}

async function endpoint(cf: Cf): Promise<{ href: string; fingerprint: string }> {
  requireSpace(cf);
  const { links } = (await cf.client.open<{ links: RootLinks }>(cf.session.data.Target)).body;
  const href = links.app_ssh?.href ?? '';
  const fingerprint = links.app_ssh?.meta.host_key_fingerprint ?? '';
  if (href === '') throw new CommandError('SSH endpoint not set');
  if (fingerprint === '') throw new CommandError('SSH hostkey fingerprint not set');
  return { href, fingerprint };
}

function hostAndPort(href: string): { host: string; port: number } {
  const { hostname, port } = new URL(`ssh://${href.replace(/^ssh:\/\//, '')}`);
  return { host: hostname, port: port === '' ? 22 : Number(port) };
}

/** The user name that the proxy knows an instance by. Errors: CommandError when there is none that runs. */
async function instanceOf(cf: Cf, app_name: string, flags: SshFlags): Promise<string> {
  const { process: type, appInstanceIndex: index } = flags;
  const app = await findApp(cf, app_name);
  if (app.state !== 'STARTED') throw new CommandError(`Application '${app_name}' is not in the STARTED state`);
  const { resources } = await cf.client.list<Process>(`/v3/apps/${app.guid}/processes`);
  const found = resources.find((process) => process.type === type);
  if (!found) throw new CommandError(`Process ${type} not found`);
  const { resources: stats } = await cf.client.get<{ resources: InstanceStats[] }>(`/v3/processes/${found.guid}/stats`);
  const instance = stats.find((instance) => instance.index === index);
  if (!instance) throw new CommandError(`Instance ${index} of process ${type} not found`);
  if (instance.state !== 'RUNNING') throw new CommandError(`Instance ${index} of process ${type} not running`);
  return `cf:${found.guid}/${index}`;
}

/** Errors: ApiError; CommandError when UAA gives none. */
async function passcode(cf: Cf): Promise<string> {
  const { UaaEndpoint, SSHOAuthClient } = cf.session.data;
  const query = { response_type: 'code', grant_type: 'authorization_code', client_id: SSHOAuthClient || 'ssh-proxy' };
  const { headers } = await cf.client.raw(`${UaaEndpoint}/oauth/authorize`, { query });
  const { location } = headers;
  const code = typeof location === 'string' ? new URL(location, UaaEndpoint).searchParams.get('code') : null;
  if (code === null) throw new CommandError('Error getting one time auth code: the UAA gave none');
  return code;
}
