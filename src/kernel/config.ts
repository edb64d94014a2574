import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import type { z } from 'zod';
import { AppError, systemErrorCode } from './errors.ts';

export class ConfigError extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('config_invalid', message, options);
  }
}

/**
 * Reads one component's YAML file and checks it against its schema.
 * Errors: ConfigError naming the file and, for each fault, the key and what is wrong with it.
 */
export function loadConfig<Schema extends z.ZodType>(schema: Schema, path: string): z.output<Schema> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const why = systemErrorCode(error) === 'ENOENT' ? 'there is no such file' : 'it cannot be read';
    throw new ConfigError(`configuration ${path}: ${why}`, { cause: error });
  }
  return parseConfig(schema, text, path);
}

/** As loadConfig, for text already read; `source` names it in errors. */
export function parseConfig<Schema extends z.ZodType>(schema: Schema, text: string, source: string): z.output<Schema> {
  const document = parseDocument(text);
  const [fault] = document.errors;
  if (fault) throw new ConfigError(`configuration ${source}: ${fault.message}`);
  const result = schema.safeParse(document.toJS() ?? {});
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => `${issue.path.join('.') || '(top level)'}: ${issue.message}`);
  throw new ConfigError(`configuration ${source}: ${faults.join('; ')}`);
}
