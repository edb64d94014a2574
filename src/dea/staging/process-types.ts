import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { AppError } from '#kernel/errors.ts';

/** What a buildpack's `bin/release` or its `launch.yml` says is no YAML of the form agreed. */
export class ReleaseInvalid extends AppError {
  constructor(what: string, options?: ErrorOptions) {
    super('release_invalid', `the ${what} is not valid`, options);
  }
}

const Release = z.looseObject({ default_process_types: z.record(z.string(), z.string()).nullish() }).nullable();
const Launch = z
  .looseObject({ processes: z.array(z.looseObject({ type: z.string(), command: z.string() })).nullish() })
  .nullable();
const ProcfileMap = z.record(z.string(), z.string());

/** Errors: ReleaseInvalid. */
export function readRelease(text: string): Record<string, string> {
  return read('output of bin/release', text, Release)?.default_process_types ?? {};
}

/** Errors: ReleaseInvalid. */
export function readLaunch(text: string): Record<string, string> {
  const processes = read('launch.yml', text, Launch)?.processes ?? [];
  return Object.fromEntries(processes.map(({ type, command }) => [type, command]));
}

/**
 * A Procfile's commands by process type: YAML as Cloud Foundry reads it, else `type: command` lines as Heroku does, where a
 * command may hold what YAML would take for its own.
 */
export function readProcfile(text: string): Record<string, string> {
  try {
    const map = ProcfileMap.safeParse(parse(text));
    if (map.success) return map.data;
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw error;
  }
  const types: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const match = /^([A-Za-z0-9_-]+):\s*(\S.*)$/.exec(line.trimEnd());
    if (match?.[1] !== undefined && match[2] !== undefined) types[match[1]] = match[2].trim();
  }
  return types;
}

function read<Schema extends z.ZodType>(what: string, text: string, schema: Schema): z.output<Schema> {
  try {
    return schema.parse(parse(text) ?? null);
  } catch (error) {
    throw new ReleaseInvalid(what, { cause: error });
  }
}
