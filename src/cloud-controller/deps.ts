import type { TokenVerifier } from '#http/token-verifier.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import type { BrokerClient } from './broker-client/client.ts';
import type { Links } from './api/links.ts';
import type { CloudControllerConfig } from './config.ts';
import type { Effects } from './effects.ts';
import type { JobQueue } from './jobs/queue.ts';
import type { JobRegistry } from './jobs/registry.ts';
import type { AppsSide } from './runtime/apps-side.ts';
import type { DashboardClients } from './service-brokers/dashboard-clients.ts';
import type { Vault } from './service-secrets/vault.ts';
import type { Db } from './tables.ts';
import type { UserDirectory } from './users/directory.ts';

/** What resources are made of; each takes the parts it uses. */
export interface Deps {
  config: CloudControllerConfig;
  db: Db;
  links: Links;
  jobs: JobQueue;
  operations: JobRegistry;
  effects: Effects;
  apps: AppsSide;
  directory: UserDirectory;
  /** Encrypts secrets of services. */
  vault: Vault;
  brokers: BrokerClient;
  dashboards: DashboardClients;
  /** Checks tokens of the UAA, for the API and for what others ask in a user's name. */
  verifier: TokenVerifier;
  clock: Clock;
  log: Log;
}
