import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Blobstore } from '#blobs/blobstore.ts';
import type { ComponentContext } from '#kernel/component.ts';
import type { BrokersConfig } from './config.ts';
import { Credentials } from './credentials.ts';
import { ensureSystemUser } from './engines/system-user.ts';
import { Nats } from './nats/service.ts';
import { TenantsServer } from './postgresql/server.ts';
import { Postgresql } from './postgresql/service.ts';
import { Redis } from './redis/service.ts';
import type { Service } from './service.ts';
import { Smtp } from './smtp/service.ts';
import { Volume } from './volume/service.ts';
import type { Db } from './tables.ts';

/** Every service that the configuration names. Nothing is started yet. */
export function openServices(config: BrokersConfig, given: ComponentContext & { db: Db; blobs: Blobstore }): Service[] {
  const { clock, log } = given;
  const user = ensureSystemUser(config.user);
  ensurePassable(config.state_folder);
  const credentials = new Credentials(config.credential_key);
  const around = { folder: config.state_folder, cgroup: config.cgroup, clock, log };
  const { address, client_network } = config;
  const services: Service[] = [];
  if (config.postgresql) {
    const server = new TenantsServer({
      config: config.postgresql,
      folder: join(config.state_folder, 'postgresql'),
      address,
      client_network,
      user,
      superuser_password: credentials.passwordFor('postgresql superuser'),
      around,
    });
    services.push(new Postgresql({ config: config.postgresql, server, credentials, ...given }));
  }
  if (config.redis) {
    const folder = join(config.state_folder, 'redis');
    ensurePassable(folder);
    services.push(new Redis({ config: config.redis, db: given.db, credentials, folder, address, user, around }));
  }
  if (config.smtp) {
    const folder = join(config.state_folder, 'smtp');
    ensurePassable(folder);
    services.push(new Smtp({ config: config.smtp, credentials, folder, address, user, around }));
  }
  if (config.nats) {
    const folder = join(config.state_folder, 'nats');
    services.push(new Nats({ config: config.nats, db: given.db, credentials, folder, address, user, around }));
  }
  if (config.volume)
    services.push(new Volume({ config: config.volume, credentials, folder: join(config.state_folder, 'volume') }));
  return services;
}

/** The services run as a user of their own and have to pass through. */
function ensurePassable(folder: string): void {
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o711);
}
