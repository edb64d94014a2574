import { isInPermittedSpace, isOneOf, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { Scope } from '../api/permissions.ts';
import type { Db } from '../tables.ts';
import type { DeploymentRow } from '../tables-apps.ts';

export interface FoundDeployment extends DeploymentRow {
  space_guid: string;
  organization_guid: string;
  organization_suspended: boolean;
}

function deploymentsWithPlace(db: Db) {
  return db
    .selectFrom('deployments')
    .innerJoin('apps', 'apps.guid', 'deployments.app_guid')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('deployments')
    .select([
      'apps.space_guid as space_guid',
      'spaces.organization_guid as organization_guid',
      'organizations.suspended as organization_suspended',
    ]);
}

export async function findDeployment(db: Db, guid: string): Promise<FoundDeployment | undefined> {
  return await deploymentsWithPlace(db).where('deployments.guid', '=', guid).executeTakeFirst();
}

export async function listDeployments(db: Db, query: ListQuery, scope: Scope): Promise<Page<FoundDeployment>> {
  return await selectPage(deploymentsWithPlace(db).where(isInPermittedSpace(scope, 'apps.space_guid')), {
    query,
    table: 'deployments',
    filters: {
      app_guids: 'deployments.app_guid',
      status_values: 'deployments.status_value',
      status_reasons: 'deployments.status_reason',
      // An older name of the reasons.
      states: (values) => isOneOf('deployments.status_reason', values),
    },
  });
}
