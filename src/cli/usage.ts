import type { CommanderError } from 'commander';
import type { Terminal } from './terminal.ts';

/** `-l=-1` is `-l -1` with the public CLI. */
export function withoutEqualsSigns(args: readonly string[]): string[] {
  return args.flatMap((arg) => {
    const match = /^(-[A-Za-z])=(.*)$/s.exec(arg);
    return match?.[1] !== undefined && match[2] !== undefined ? [match[1], match[2]] : [arg];
  });
}

/** Says what is wrong with the words of a call, as the public CLI does. Returns the exit status. */
export function sayUsageError(terminal: Terminal, error: CommanderError, args: readonly string[]): number {
  const quoted = (/'(.*)'/s.exec(error.message)?.[1] ?? '').replace(/ *[<[].*$/s, '');
  const command = args[0] ?? '';
  switch (error.code) {
    case 'commander.helpDisplayed':
    case 'commander.help':
    case 'commander.version':
      return error.exitCode;
    case 'commander.unknownCommand':
      terminal.warn(`'${quoted}' is not a registered command. See 'cf help -a'`);
      return 1;
    case 'commander.missingArgument':
      terminal.failed(`Incorrect Usage: the required argument \`${quoted.toUpperCase()}\` was not provided\n`);
      break;
    case 'commander.unknownOption':
      terminal.failed(`Incorrect Usage: unknown flag \`${quoted.replace(/^-+/, '')}'\n`);
      break;
    case 'commander.missingMandatoryOptionValue':
      terminal.failed(`Incorrect Usage: the required flag \`${quoted.replace(/^-\w, /, '')}' was not specified\n`);
      break;
    default:
      terminal.failed(`Incorrect Usage: ${error.message.replace(/^error: /, '')}\n`);
  }
  terminal.say(`TIP: Use 'cf help ${command}' to see how the command is used.`);
  return error.exitCode;
}
