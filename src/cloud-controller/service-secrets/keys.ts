import { z } from 'zod';
import { ConfigError, loadConfig } from '#kernel/config.ts';
import type { CloudControllerConfig } from '../config.ts';

/**
 * Keys of the vault by label, in a YAML file that can be kept and guarded apart from the configuration. To rotate: add a key, make it
 * current, restart; when the log says that all is sealed with it, the one before may go.
 */
const EncryptionKeysFile = z
  .strictObject({
    current_key_label: z.string(),
    keys: z.record(z.string(), z.string().min(16)),
  })
  .refine(({ current_key_label, keys }) => Object.hasOwn(keys, current_key_label), {
    message: 'is none of keys',
    path: ['current_key_label'],
  });

export interface EncryptionKeys {
  encryption_key?: string | undefined;
  previous_encryption_keys: readonly string[];
}

/** The vault's keys, wherever the configuration has them. Errors: ConfigError. */
export function readEncryptionKeys(
  config: Pick<CloudControllerConfig, 'encryption_key' | 'encryption_keys_file' | 'previous_encryption_keys'>,
): EncryptionKeys {
  const { encryption_key, encryption_keys_file: file, previous_encryption_keys } = config;
  if (file === undefined) return { encryption_key, previous_encryption_keys };
  if (encryption_key !== undefined) {
    throw new ConfigError('encryption_key and encryption_keys_file: one of them, not both');
  }
  const { current_key_label: current, keys } = loadConfig(EncryptionKeysFile, file);
  const others = Object.entries(keys).flatMap(([label, key]) => (label === current ? [] : [key]));
  return { encryption_key: keys[current], previous_encryption_keys: others };
}
