import { sql, type RawBuilder } from 'kysely';
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

/** How many rows a whole table has, and when that was counted. */
export interface RememberedTotal {
  counted?: { rows: number; at_ms: number };
}

interface ListOptions extends PageQuery {
  table: 'users' | 'groups' | 'clients';
  attributes: Attributes;
  /** Where the count of a big table is kept for a moment. */
  remembered?: { total: RememberedTotal; now_ms: number };
}

/** To count a table of more rows than this takes longer than to read a page of it: its total may be a second old. */
const BIG_TABLE_ROWS = 20_000;
const REMEMBER_MS = 1_000;

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
  // The rows before the page are passed over in the index, and only those of the page are read.
  const page = sql`select ${key} from ${table} ${where} ${order} limit ${count} offset ${startIndex - 1}`;
  const [{ rows }, totalResults] = await Promise.all([
    sql<Row>`select * from ${table} where ${key} in (${page}) ${order}`.execute(database.query),
    totalOf(database, options, sql`select count(*)::int as total from ${table} ${where}`),
  ]);
  return { rows, totalResults };
}

async function totalOf(
  database: Database<UaaTables>,
  { filter, remembered }: ListOptions,
  query: RawBuilder<unknown>,
): Promise<number> {
  const counted = remembered?.total.counted;
  const isFresh = counted !== undefined && remembered !== undefined && remembered.now_ms - counted.at_ms < REMEMBER_MS;
  if (filter === undefined && isFresh && counted.rows > BIG_TABLE_ROWS) return counted.rows;
  const { rows } = await query.execute(database.query);
  const [row] = rows as { total: number }[];
  const total = row?.total ?? 0;
  if (filter === undefined && remembered) remembered.total.counted = { rows: total, at_ms: remembered.now_ms };
  return total;
}
