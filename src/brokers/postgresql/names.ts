import { shortOf } from '../short-name.ts';

/** What PostgreSQL calls an instance's things. */
export interface DatabaseNames {
  database: string;
  /** Owns everything in it; nobody logs in as it. */
  owner: string;
  /** May read and delete: what bindings are while the database is over its size. */
  limited: string;
  /** Logs in for backups and restores. */
  maintenance: string;
}

export function namesOf(instance_guid: string): DatabaseNames {
  const id = shortOf(instance_guid);
  return { database: `db_${id}`, owner: `owner_${id}`, limited: `limited_${id}`, maintenance: `maint_${id}` };
}

/** The role of a binding. */
export const roleOf = (binding_guid: string): string => `u_${shortOf(binding_guid)}`;
