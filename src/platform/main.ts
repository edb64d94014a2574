/**
 * `ingot`: the one room that knows all the others. It starts them on one machine, stops them, and tells how they are.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, openSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { describeError } from '#kernel/errors.ts';
import { createLog } from '#kernel/log.ts';
import { destroy } from './destroy.ts';
import { down } from './down.ts';
import { logIn } from './first-app.ts';
import { Home, projectRoot } from './home.ts';
import { registerJobCommands } from './job-commands.ts';
import { printProgress } from './progress.ts';
import { runningPlan } from './reach.ts';
import { isRoleName, ROLES, type RoleName } from './roles.ts';
import { runRoles } from './run.ts';
import { readSecrets, rotateEncryptionKey, type Secrets } from './secrets.ts';
import type { PlatformSettings } from './settings.ts';
import { printStatus } from './status.ts';
import { bringUp, type UpSummary } from './up.ts';
import { registerWardenCommands } from './warden-commands.ts';

// A reader that has seen enough (`| head`) closes the pipe.
process.stdout.on('error', () => process.exit(0));

const home = Home.fromEnvironment(process.env);
const program = new Command('ingot')
  .description('A whole Cloud Foundry on this machine')
  .enablePositionalOptions()
  .showHelpAfterError();

interface UpFlags {
  detach?: true;
  domain?: string;
  httpPort?: number;
  httpsPort?: number;
  sshPort?: number;
  listen?: string;
  memory?: number;
  deas?: number;
  routers?: number;
  containerBackend?: PlatformSettings['container_backend'];
  welcome: boolean;
}

program
  .command('up')
  .description('start the platform; stay in front until Ctrl-C')
  .option('--detach', 'return when all is ready')
  .option('--domain <domain>', 'system domain, and the first domain of apps')
  .option('--ssh-port <port>', 'for cf ssh, instead of 2222, or another when that is taken', portNumber)
  .option('--http-port <port>', 'instead of 80, or 8080 when that is taken', portNumber)
  .option('--https-port <port>', 'instead of 443, or 8443 when that is taken', portNumber)
  .option('--listen <address>', 'address that the router listens on; 127.0.0.1 unless said', String)
  .option('--memory <mb>', 'memory that apps may reserve in all', wholeNumber)
  .option('--deas <n>', 'number of DEAs', wholeNumber)
  .option('--routers <n>', 'number of router processes that share the ports', wholeNumber)
  .addOption(
    new Option('--container-backend <backend>', 'process: without any isolation, for development without root').choices(
      ['crun', 'process'],
    ),
  )
  .option('--no-welcome', 'do not push the sample app at the first start')
  .action(async (flags: UpFlags) => {
    if (flags.detach) await upDetached();
    else await upInFront(flags);
  });

program
  .command('down')
  .description('stop everything; apps come back at the next "up"')
  .action(async () => {
    await down(home);
    console.log('Stopped. "ingot up" brings everything back.');
  });

program
  .command('status')
  .description('each component: up or not, process, memory, version; and each instance and where it runs')
  .action(async () => {
    process.exitCode = (await printStatus(home)) ? 0 : 1;
  });

program
  .command('run')
  .description('run one or more roles in this process')
  .argument('<role...>', Object.keys(ROLES).join(', '))
  .requiredOption('--config <folder>', 'folder with one <role>.yml for each')
  .action(async (names: string[], { config }: { config: string }) => {
    const unknown = names.find((name) => !isRoleName(name));
    if (unknown !== undefined)
      program.error(`There is no role ${unknown}. There are: ${Object.keys(ROLES).join(', ')}.`);
    await runRoles(names as RoleName[], config);
  });

program
  .command('credentials')
  .description("print the admin's user name and password")
  .action(() => {
    const plan = runningPlan(home);
    console.log(`user:     admin\npassword: ${readSecrets(plan.home).admin_password}`);
  });

program
  .command('login')
  .description('leave cf logged in as admin')
  .action(async () => {
    const plan = runningPlan(home);
    await logIn(plan, process.env['CF_HOME'] ?? homedir());
    console.log('cf is logged in as admin, org main, space dev.');
  });

program
  .command('rotate-encryption-key')
  .description('make a new key for the secrets in the database, which takes effect at the next start')
  .action(() => {
    rotateEncryptionKey(home);
    console.log('At the next "ingot up" all secrets in the database are sealed with the new key.');
  });

program
  .command('destroy')
  .description('stop everything and remove all state')
  .option('--yes', 'do not ask')
  .action(async ({ yes }: { yes?: true }) => {
    if (!yes && !(await hasConfirmed(`Remove all apps, services, users and data in ${home.folder}? (yes/no) `))) {
      console.log('Nothing was removed.');
      return;
    }
    await destroy(home);
    console.log(`${home.folder} is removed.`);
  });

registerWardenCommands(program, home);
registerJobCommands(program, home);

try {
  await program.parseAsync();
} catch (error) {
  console.error(`ingot: ${describeError(error)}`);
  process.exit(1);
}

function chosenSettings(flags: UpFlags): Partial<PlatformSettings> {
  return {
    ...(flags.domain !== undefined && { domain: flags.domain }),
    ...(flags.sshPort !== undefined && { ssh_port: flags.sshPort }),
    ...(flags.httpPort !== undefined && { http_port: flags.httpPort }),
    ...(flags.httpsPort !== undefined && { https_port: flags.httpsPort }),
    ...(flags.listen !== undefined && { listen_host: flags.listen }),
    ...(flags.memory !== undefined && { memory_mb: flags.memory }),
    ...(flags.deas !== undefined && { deas: flags.deas }),
    ...(flags.routers !== undefined && { routers: flags.routers }),
    ...(flags.containerBackend !== undefined && { container_backend: flags.containerBackend }),
    ...(!flags.welcome && { push_welcome: false }),
  };
}

async function upInFront(flags: UpFlags): Promise<void> {
  // The parent of a detached start listens here for what a person should read.
  const isDetached = process.send !== undefined;
  const write = (text: string): void => {
    if (!isDetached) process.stdout.write(text);
    else if (process.connected) process.send?.({ say: text });
  };
  const started = performance.now();
  const log = createLog({ component: 'supervisor', level: isDetached ? 'info' : 'error' });
  const platform = await bringUp({ home, chosen: chosenSettings(flags), progress: printProgress(write), log }).catch(
    (error: unknown) => {
      if (isDetached && process.connected) process.send?.({ failed: describeError(error) });
      throw error;
    },
  );
  let stopping: Promise<void> | undefined;
  const stop = (): void => {
    stopping ??= platform.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ error: describeError(error) }, 'the platform did not stop cleanly');
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  write(summaryText(platform.summary, readSecrets(home), (performance.now() - started) / 1000));
  if (isDetached && process.connected) {
    process.send?.({ ready: true });
    process.disconnect?.();
  } else write('\nCtrl-C stops the platform.\n');
}

function summaryText(summary: UpSummary, secrets: Secrets, seconds: number): string {
  const app = summary.app === undefined ? '' : `\n  Sample app   ${summary.app}`;
  return `
Ingot is up after ${seconds.toFixed(1)} s.

  API          ${summary.api}${app}

Log in:
  cf api ${summary.api}
  cf login -u admin -p ${secrets.admin_password} -o main -s dev
or let "bin/ingot login" do that. Then, in the folder of an app: cf push NAME
`;
}

/** Starts the same command as a process of its own, shows what it says, and returns when it is ready. */
async function upDetached(): Promise<void> {
  mkdirSync(home.logs, { recursive: true });
  const output = openSync(join(home.logs, 'supervisor.log'), 'a', 0o600);
  const args = process.argv.slice(2).filter((argument) => argument !== '--detach');
  const child = spawn(process.execPath, [...process.execArgv, join(projectRoot, 'src/platform/main.ts'), ...args], {
    detached: true,
    stdio: ['ignore', output, output, 'ipc'],
  });
  await new Promise<void>((resolve, reject) => {
    child.on('message', (message: { say?: string; ready?: true; failed?: string }) => {
      if (message.say !== undefined) process.stdout.write(message.say);
      if (message.failed !== undefined) reject(new Error(message.failed));
      if (message.ready) resolve();
    });
    child.once('exit', (exit_status) =>
      reject(new Error(`the platform ended with status ${exit_status}; see ${home.logs}/supervisor.log`)),
    );
  });
  child.unref();
  if (child.connected) child.disconnect();
}

async function hasConfirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return (await prompt.question(question)).trim().toLowerCase() === 'yes';
  } finally {
    prompt.close();
  }
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('must be a whole number');
  return Number(text);
}

function portNumber(text: string): number {
  const port = wholeNumber(text);
  if (port < 1 || port > 65535) throw new InvalidArgumentError('must be a port, 1 to 65535');
  return port;
}
