import { join } from 'node:path';
import { Database, type DatabaseOptions } from '#db/database.ts';
import { migrate } from '#db/migrate.ts';
import type { CloudControllerConfig } from '../config.ts';
import type { Vault } from '../service-secrets/vault.ts';
import type { CcTables } from '../tables.ts';
import { resealOld, sealedVariables, sealOldVariables } from './sealed-variables-store.ts';
import { seed } from './store.ts';

const MIGRATIONS = join(import.meta.dirname, '../../../migrations/cloud-controller');

/** The database, migrated, with what every platform begins with, and all secrets in it sealed with the current key, if there is one. */
export async function openDatabase(
  config: CloudControllerConfig,
  vault: Vault,
  { log, onStatement }: Pick<DatabaseOptions, 'log' | 'onStatement'>,
): Promise<Database<CcTables>> {
  const { url, max_connections } = config.database;
  await migrate({ url, folder: MIGRATIONS, log });
  await using opening = new AsyncDisposableStack();
  const database = opening.use(
    new Database<CcTables>({
      url,
      max_connections,
      application_name: 'cloud-controller',
      log,
      ...(vault.hasKey && { sealed: sealedVariables(vault) }),
      ...(onStatement && { onStatement }),
    }),
  );
  await seed(database.query, config);
  if (vault.hasKey) {
    await sealOldVariables(database.query);
    const { sealed_anew, unreadable } = await resealOld(database.query, vault);
    if (unreadable > 0) log.error({ unreadable }, 'secrets in the database that no key of the configuration opens');
    else if (sealed_anew > 0) log.info({ sealed_anew }, 'all is sealed with the current key');
  }
  opening.move();
  return database;
}
