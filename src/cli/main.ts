/**
 * `cf`, as Cloud Foundry's users know it: the same commands, flags, columns and words as the public CLI, and its session file.
 */
import { Command, CommanderError } from 'commander';
import { describeError } from '#kernel/errors.ts';
import { CfClient } from './client.ts';
import { registerAppCommands } from './commands/apps.ts';
import { registerEnvCommands } from './commands/env.ts';
import { registerOrgCommands } from './commands/orgs.ts';
import { registerPlatformCommands } from './commands/platform.ts';
import { registerPushCommand } from './commands/push.ts';
import { registerRouteCommands } from './commands/routes.ts';
import { registerSessionCommands } from './commands/session.ts';
import type { Cf } from './context.ts';
import { ApiError, CommandError } from './errors.ts';
import { Session } from './session.ts';
import { Terminal } from './terminal.ts';

const VERSION = '8.18.0+ingot';

const terminal = new Terminal();
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let cf: Cf | undefined;
  try {
    const session = Session.load(process.env);
    cf = { session, terminal, client: new CfClient({ session, onWarning: (text) => terminal.warn(text) }) };
    await createProgram(cf).parseAsync([...args], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    // commander has already said what is wrong with the words of the call.
    if (error instanceof CommanderError) return error.exitCode;
    terminal.failed(error instanceof ApiError || error instanceof CommandError ? error.message : describeError(error));
    return 1;
  } finally {
    await cf?.client.close();
  }
}

function createProgram(cf: Cf): Command {
  const program = new Command('cf')
    .description('A command line tool to interact with Cloud Foundry')
    .version(`cf version ${VERSION}`, '-v, --version', 'Print the version')
    .configureHelp({ sortSubcommands: true })
    .exitOverride();
  for (const register of [
    registerSessionCommands,
    registerPushCommand,
    registerAppCommands,
    registerEnvCommands,
    registerRouteCommands,
    registerOrgCommands,
    registerPlatformCommands,
  ]) {
    register(program, cf);
  }
  program
    .command('version')
    .description('Print the version')
    .action(() => terminal.say(`cf version ${VERSION}`));
  return program;
}
