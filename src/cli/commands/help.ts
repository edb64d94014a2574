import type { Command } from 'commander';
import { COMMAND_GROUPS, COMMON_COMMANDS } from '../command-groups.ts';
import type { Cf } from '../context.ts';
import { CommandError } from '../errors.ts';

const ENVIRONMENT = [
  ['CF_COLOR=false', 'Do not colorize output'],
  ['CF_HOME=path/to/dir/', 'Where the session is kept instead of the home folder'],
  ['CF_STAGING_TIMEOUT=15', 'Minutes that staging may take'],
  ['CF_STARTUP_TIMEOUT=5', 'Minutes that an app may take to start'],
] as const;

/** `cf help`, `cf help -a`, `cf help COMMAND`. */
export function registerHelpCommand(program: Command, cf: Cf, version: string): void {
  program.helpCommand(false);
  program
    .command('help [COMMAND]')
    .alias('h')
    .description('Show help')
    .option('-a', 'All commands')
    .action((name: string | undefined, flags: { a?: true }) => {
      if (name !== undefined) {
        const command = findCommand(program, name);
        if (!command) throw new CommandError(`'${name}' is not a registered command. See 'cf help -a'`);
        return cf.terminal.write(helpOf(command));
      }
      cf.terminal.say(flags.a ? allCommands(program, version) : commonCommands(program, version));
    });
}

const findCommand = (program: Command, name: string): Command | undefined =>
  program.commands.find((command) => command.name() === name || command.aliases().includes(name));

const argumentNames = (command: Command): string =>
  command.registeredArguments
    .map((argument) => {
      const name = argument.name().toUpperCase() + (argument.variadic ? '...' : '');
      return argument.required ? name : `[${name}]`;
    })
    .join(' ');

/** One command in the form of the public CLI. */
export function helpOf(command: Command): string {
  const flags = command.options.filter((option) => !option.hidden && option.long !== '--help');
  const usage = [`cf ${command.name()}`, argumentNames(command), flags.length > 0 ? '[OPTIONS]' : ''];
  const sections = [
    ['NAME:', `${command.name()} - ${command.description()}`],
    ['USAGE:', usage.filter((part) => part !== '').join(' ')],
  ];
  if (command.alias()) sections.push(['ALIAS:', command.aliases().join(', ')]);
  const forms = flags.map((option) => [option.long, option.short].filter(Boolean).join(', '));
  const width = Math.max(0, ...forms.map((form) => form.length)) + 8;
  const lines = flags.map((option, n) => {
    const given: unknown = option.defaultValue;
    const fallback = typeof given === 'string' && given !== '' ? ` (Default: ${given})` : '';
    return `${(forms[n] ?? '').padEnd(width)}${option.description}${fallback}`;
  });
  if (lines.length > 0) sections.push(['OPTIONS:', lines.join('\n   ')]);
  return sections.map(([title, text]) => `${title}\n   ${text}\n`).join('\n');
}

function allCommands(program: Command, version: string): string {
  const known = new Map(program.commands.map((command) => [command.name(), command]));
  const listed = COMMAND_GROUPS.map(
    ([title, rows]) =>
      [
        title,
        rows.map((row) => row.split(' ').filter((name) => known.has(name))).filter((row) => row.length > 0),
      ] as const,
  ).filter(([, rows]) => rows.length > 0);
  const width = Math.max(...listed.flatMap(([, rows]) => rows.flat().map((name) => name.length))) + 1;
  const groups = listed.map(([title, rows]) => {
    const blocks = rows.map((row) =>
      row.map((name) => `   ${name.padEnd(width)}${known.get(name)?.description() ?? ''}`).join('\n'),
    );
    return `${title}\n${blocks.join('\n\n')}`;
  });
  const facts = (rows: readonly (readonly [string, string])[]): string =>
    rows.map(([key, value]) => `   ${key.padEnd(width)}${value}`).join('\n');
  return [
    'NAME:\n   cf - A command line tool to interact with Cloud Foundry',
    'USAGE:\n   cf [global options] command [arguments...] [command options]',
    `VERSION:\n   ${version}`,
    ...groups,
    `ENVIRONMENT VARIABLES:\n${facts(ENVIRONMENT)}`,
    `GLOBAL OPTIONS:\n${facts([
      ['--help, -h', 'Show help'],
      ['--version, -v', 'Print the version'],
    ])}`,
  ].join('\n\n');
}

/** The commands that most people need, in columns. */
function commonCommands(program: Command, version: string): string {
  const groups = COMMON_COMMANDS.map(([title, columns]) => {
    const filled = columns.map((column) =>
      column.split(' ').flatMap((name) => {
        const command = findCommand(program, name);
        return command ? [[name, ...command.aliases()].join(',')] : [];
      }),
    );
    const widths = filled.map((column) => Math.max(0, ...column.map((cell) => cell.length)) + 4);
    const height = Math.max(...filled.map((column) => column.length));
    const lines = Array.from({ length: height }, (_, row) =>
      `  ${filled.map((column, n) => (column[row] ?? '').padEnd(widths[n] ?? 0)).join('')}`.trimEnd(),
    );
    return `${title}:\n${lines.join('\n')}`;
  });
  return [
    `cf version ${version}, Cloud Foundry command line tool\nUsage: cf [global options] command [arguments...] [command options]`,
    ...groups,
    "TIP: Use 'cf help -a' to see all commands.",
  ].join('\n\n');
}
