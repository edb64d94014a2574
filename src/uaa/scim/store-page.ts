import { sql, type RawBuilder } from 'kysely';
import type { Database } from '#db/database.ts';
import type { UaaTables } from '../tables.ts';
import type { Attributes } from './attributes.ts';
import type { Filter } from './filter.ts';
import type { Overview } from './overview.ts';
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
  /** Of the table that may be big. */
  overview?: Overview;
}

/** Reads one page and counts all that match. Errors: scim (400) for what cannot be searched or sorted by. */
export async function listPage<Row>(database: Database<UaaTables>, options: ListOptions): Promise<Page<Row>> {
  const table = sql.table(options.table);
  const where = options.filter ? sql`where ${filterCondition(options.filter, options.attributes)}` : sql``;
  const sorted = attributeOf(options.sortBy ?? 'created', options.attributes);
  const column = sorted.type === 'text' ? sql`lower(${sql.ref(sorted.column)})` : sql.ref(sorted.column);
  const direction = options.isDescending === true ? sql`desc` : sql`asc`;
  const key = sql.ref(options.table === 'clients' ? 'client_id' : 'id');
  const order = sql`order by ${column} ${direction}, ${key} ${direction}`;
  const { count, startIndex } = options;
  const isWhole = options.filter === undefined;
  const isByCreation = isWhole && sorted.column === 'created_at' && options.isDescending !== true;
  const landmark = isByCreation ? options.overview?.before(startIndex) : undefined;
  const from = landmark
    ? sql`where (${column}, ${key}) >= (${landmark.created_at}::timestamptz, ${landmark.id})`
    : where;
  // The rows before the page are passed over in the index, and only those of the page are read.
  const offset = startIndex - (landmark?.place ?? 1);
  const page = sql`select ${key} from ${table} ${from} ${order} limit ${count} offset ${offset}`;
  const { rows } = await sql<Row>`select * from ${table} where ${key} in (${page}) ${order}`.execute(database.query);
  // A page that is not full is the last one.
  const isLast = rows.length < count && (rows.length > 0 || startIndex === 1);
  const known = isLast ? startIndex - 1 + rows.length : isWhole ? options.overview?.total() : undefined;
  const totalResults = known ?? (await countOf(database, sql`select count(*)::int as total from ${table} ${where}`));
  if (isWhole) options.overview?.heard(totalResults);
  return { rows, totalResults };
}

async function countOf(database: Database<UaaTables>, query: RawBuilder<unknown>): Promise<number> {
  const { rows } = await query.execute(database.query);
  const [row] = rows as { total: number }[];
  return row?.total ?? 0;
}
