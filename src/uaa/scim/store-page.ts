import { sql } from 'kysely';
import type { Database } from '#db/database.ts';
import type { UaaTables } from '../tables.ts';
import type { Attributes } from './attributes.ts';
import type { Filter } from './filter.ts';
import { attributeOf, filterCondition } from './store-filter.ts';

/** One page of a SCIM list: `startIndex` counts from 1. */
export interface PageQuery {
  filter?: Filter;
  sortBy?: string;
  isDescending?: boolean;
  startIndex: number;
  count: number;
}

export interface Page<Row> {
  rows: Row[];
  totalResults: number;
}

interface ListOptions extends PageQuery {
  table: 'users' | 'groups' | 'clients';
  attributes: Attributes;
}

/** Reads one page and counts all that match. Errors: scim (400) for what cannot be searched or sorted by. */
export async function listPage<Row>(database: Database<UaaTables>, options: ListOptions): Promise<Page<Row>> {
  const table = sql.table(options.table);
  const where = options.filter ? sql`where ${filterCondition(options.filter, options.attributes)}` : sql``;
  const sorted = attributeOf(options.sortBy ?? 'created', options.attributes);
  const column = sorted.type === 'text' ? sql`lower(${sql.ref(sorted.column)})` : sql.ref(sorted.column);
  const direction = options.isDescending === true ? sql`desc` : sql`asc`;
  const key = sql.ref(options.table === 'clients' ? 'client_id' : 'id');
  const [{ rows }, totalResults] = await Promise.all([
    sql<Row>`select * from ${table} ${where} order by ${column} ${direction}, ${key} ${direction}
      limit ${options.count} offset ${options.startIndex - 1}`.execute(database.query),
    count(database, sql`select count(*)::int as total from ${table} ${where}`),
  ]);
  return { rows, totalResults };
}

async function count(database: Database<UaaTables>, query: ReturnType<typeof sql>): Promise<number> {
  const { rows } = await query.execute(database.query);
  const [row] = rows as { total: number }[];
  return row?.total ?? 0;
}
