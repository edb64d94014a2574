import { unprocessable } from '#contracts/cf-errors.ts';
import type { Db } from '../tables.ts';
import type { DeploymentRow } from '../tables-apps.ts';

export async function activeDeployment(db: Db, app_guid: string): Promise<DeploymentRow | undefined> {
  return await db
    .selectFrom('deployments')
    .selectAll()
    .where('app_guid', '=', app_guid)
    .where('status_value', '=', 'ACTIVE')
    .executeTakeFirst();
}

/** Errors: 422 with `detail` while a deployment of the app is under way. */
export async function requireNoDeployment(db: Db, app_guid: string, detail: string): Promise<void> {
  if (await activeDeployment(db, app_guid)) throw unprocessable(detail);
}
