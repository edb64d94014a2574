import { CommandError } from './errors.ts';

/** Errors: CommandError. */
export function wholeNumber(text: string, flag: string): number {
  if (!/^\d+$/.test(text.trim()))
    throw new CommandError(`Incorrect Usage: invalid argument for flag '${flag}' (expected int > 0)`);
  return Number(text);
}

/** `256M`, `1G`, `1GB` to bytes. Errors: CommandError. */
export function bytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([BKMGT])B?$/i.exec(text.trim());
  if (!match)
    throw new CommandError(
      `Incorrect Usage: byte quantity must be an integer with a unit of measurement like M, MB, G, or GB: ${text}`,
    );
  return Math.floor(Number(match[1]) * 1024 ** 'BKMGT'.indexOf((match[2] ?? 'B').toUpperCase()));
}

export const megabytes = (text: string): number => Math.floor(bytes(text) / 1024 ** 2);

/** -1 stands for no limit. */
export const bytesOrUnlimited = (text: string): number => (text === '-1' ? -1 : bytes(text));
