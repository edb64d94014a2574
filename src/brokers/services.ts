import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Blobstore } from '#blobs/blobstore.ts';
import type { ComponentContext } from '#kernel/component.ts';
import type { BrokersConfig } from './config.ts';
import { Credentials } from './credentials.ts';
import { ensureSystemUser } from './engines/system-user.ts';
import { TenantsServer } from './postgresql/server.ts';
import { Postgresql } from './postgresql/service.ts';
import type { Service } from './service.ts';
import type { Db } from './tables.ts';

/** Every service that the configuration names. Nothing is started yet. */
export function openServices(config: BrokersConfig, given: ComponentContext & { db: Db; blobs: Blobstore }): Service[] {
  const { clock, log } = given;
  const user = ensureSystemUser(config.user);
  // The services run as a user of their own and have to pass through.
  mkdirSync(config.state_folder, { recursive: true });
  chmodSync(config.state_folder, 0o711);
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
  return services;
}
