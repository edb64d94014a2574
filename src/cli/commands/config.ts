import type { Command } from 'commander';
import type { Cf } from '../context.ts';
import { CommandError } from '../errors.ts';

interface ConfigFlags {
  asyncTimeout?: string;
  color?: string;
  locale?: string;
  trace?: string;
}

/** Settings in the file that the public CLI shares; what only that one heeds is kept for it. */
export function registerConfigCommand(program: Command, { session, terminal }: Cf): void {
  program
    .command('config')
    .description('Write default values to the config')
    .option('--async-timeout <minutes>', 'How long jobs of the platform are waited for')
    .option('--color <true|false>', 'Whether output is coloured')
    .option('--locale <locale>', 'Kept for the public CLI; CLEAR takes it away')
    .option('--trace <true|false|path>', 'Kept for the public CLI')
    .action((flags: ConfigFlags) => {
      if (Object.keys(flags).length === 0) throw usage('at least one flag must be provided');
      const { asyncTimeout, color, locale, trace } = flags;
      if (asyncTimeout !== undefined && !/^[1-9]\d{0,8}$/.test(asyncTimeout))
        throw usage('Timeout must be an integer greater than or equal to 1');
      if (color !== undefined && color !== 'true' && color !== 'false') throw usage('COLOR must be "true" or "false"');
      terminal.say('Setting values in config...');
      session.update({
        ...(asyncTimeout !== undefined && { AsyncTimeout: Number(asyncTimeout) }),
        ...(color !== undefined && { ColorEnabled: color }),
        ...(locale !== undefined && { Locale: locale === 'CLEAR' ? '' : locale }),
        ...(trace !== undefined && { Trace: trace }),
      });
      terminal.ok();
    });
}

const usage = (message: string): CommandError => new CommandError(`Incorrect Usage: ${message}`);
