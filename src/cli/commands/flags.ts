import { Option } from 'commander';

/** For a flag that may stand several times. */
export const collect = (value: string, all: string[] | undefined): string[] => [...(all ?? []), value];

/** A flag that is gone from the public CLI's help, or has a second form that need not be shown. */
export const hidden = (flags: string): Option => new Option(flags).hideHelp();
