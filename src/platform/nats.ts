import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accepts } from '#kernel/accepts.ts';
import type { ChildSpec } from './supervisor.ts';

export interface NatsOptions {
  folder: string;
  port: number;
  password: string;
}

/** Writes nats-server's configuration and says how to run it: on loopback, with JetStream, for those who know the password. */
export function prepareNats(options: NatsOptions): ChildSpec {
  const file = join(options.folder, 'nats.conf');
  const configuration = `# Written at each start.
listen: "127.0.0.1:${options.port}"
max_payload: 8MB
jetstream { store_dir: ${JSON.stringify(join(options.folder, 'jetstream'))}, max_memory_store: 64MB, max_file_store: 1GB }
authorization { user: ingot, password: ${JSON.stringify(options.password)} }
`;
  writeFileSync(file, configuration, { mode: 0o600 });
  return {
    name: 'nats',
    command: 'nats-server',
    args: ['-c', file],
    stop_signal: 'SIGTERM',
    isReady: async () => await accepts('127.0.0.1', options.port),
  };
}

export const natsUrl = (options: Pick<NatsOptions, 'port' | 'password'>): string =>
  `nats://ingot:${encodeURIComponent(options.password)}@127.0.0.1:${options.port}`;
