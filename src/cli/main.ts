/**
 * `cf`, as Cloud Foundry's users know it: the same commands, flags, columns and words as the public CLI, and its session file.
 */
import { CommanderError } from 'commander';
import { describeError } from '#kernel/errors.ts';
import { CfClient } from './client.ts';
import type { Cf } from './context.ts';
import { ApiError, CommandError } from './errors.ts';
import { createProgram } from './program.ts';
import { Session } from './session.ts';
import { Terminal } from './terminal.ts';
import { sayUsageError, withoutEqualsSigns } from './usage.ts';

/** What a shell calls the end by SIGPIPE, which the public CLI has when nobody reads on: `cf apps | head`. */
const NOBODY_READS = 141;

process.stdout.on('error', () => process.exit(NOBODY_READS));
const terminal = new Terminal();
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let cf: Cf | undefined;
  try {
    const session = Session.load(process.env);
    const isColored = process.env['CF_COLOR'] ?? session.data.ColorEnabled;
    if (isColored === 'true' || isColored === 'false') terminal.isColored = isColored === 'true';
    cf = { session, terminal, client: new CfClient({ session, onWarning: (text) => terminal.warn(text) }) };
    const program = createProgram(cf);
    await program.parseAsync(withoutEqualsSigns(args.length === 0 ? ['help'] : args), { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    if (error instanceof CommanderError) return sayUsageError(terminal, error, args);
    terminal.failed(error instanceof ApiError || error instanceof CommandError ? error.message : describeError(error));
    return 1;
  } finally {
    await cf?.client.close();
  }
}
