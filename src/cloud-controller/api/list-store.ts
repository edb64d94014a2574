import { type RawBuilder, type SelectQueryBuilder, sql } from 'kysely';
import type { CcTables } from '../tables.ts';
import type { ListQuery, TimeOperator } from './list.ts';
import type { Links } from './links.ts';
import type { Scope } from './permissions.ts';

/** Statements over our tables, whatever they select from. */
// The set of tables differs per endpoint, and what is added here names its columns itself.
// eslint-disable-next-line typescript/no-explicit-any
type Select<Row> = SelectQueryBuilder<CcTables, any, Row>;

export interface Page<Row> {
  rows: Row[];
  total: number;
}

/** How the filters of a list become conditions: a column, whose values are the filter's, or a condition of its own. */
export type FilterColumns = Readonly<Record<string, string | ((values: string[]) => RawBuilder<boolean>)>>;

/**
 * Adds a list's filters, order and page to a statement, and runs it: two statements, whatever the list holds.
 * `table` is the name (or alias) whose `id`, `created_at` and `labels` count.
 */
export async function selectPage<Row>(
  statement: Select<Row>,
  options: { query: ListQuery; table: string; filters?: FilterColumns; order?: Readonly<Record<string, string>> },
): Promise<Page<Row>> {
  const { query, table } = options;
  const filtered = conditions(options).reduce((made, condition) => made.where(condition), statement);
  const direction = query.order_by?.direction ?? 'asc';
  const counted = filtered
    .clearSelect()
    .clearOrderBy()
    .select(sql<number>`count(*)`.as('total'));
  const column = query.order_by && (options.order?.[query.order_by.column] ?? `${table}.${query.order_by.column}`);
  const id = sql.ref(`${table}.id`);
  const ordered = (one: Select<Row>): Select<Row> =>
    (column === undefined ? one : one.orderBy(sql.ref(column), direction)).orderBy(id, direction);
  // What is shown of a row is looked up for the rows of the page alone, not for those that the page leaves behind it.
  const on_page = ordered(filtered.clearOrderBy())
    .clearSelect()
    .select(id.as('id'))
    .limit(query.per_page)
    .offset((query.page - 1) * query.per_page);
  const paged = ordered(statement.clearWhere().where(sql<boolean>`${id} = any(array(${on_page}))`));
  const [rows, count] = await Promise.all([paged.execute(), counted.executeTakeFirstOrThrow()]);
  return { rows, total: count.total };
}

function conditions(options: { query: ListQuery; table: string; filters?: FilterColumns }): RawBuilder<boolean>[] {
  const { query, table } = options;
  const found: RawBuilder<boolean>[] = [];
  for (const [name, values] of Object.entries(query.filters)) {
    const how = options.filters?.[name];
    if (typeof how === 'string') found.push(isOneOf(how, values));
    else if (how !== undefined) found.push(how(values));
  }
  for (const { column, operator, times } of query.times) {
    const ref = sql`date_trunc('second', ${sql.ref(`${table}.${column}`)})`;
    found.push(
      operator === 'in'
        ? sql<boolean>`${ref} = any(${times}::timestamptz[])`
        : sql<boolean>`${ref} ${COMPARISONS[operator]} ${times[0]}::timestamptz`,
    );
  }
  const labels = sql.ref(`${table}.labels`);
  for (const requirement of query.labels) {
    const { key } = requirement;
    switch (requirement.operator) {
      case 'exists':
        found.push(sql<boolean>`jsonb_exists(${labels}, ${key})`);
        break;
      case 'not_exists':
        found.push(sql<boolean>`not jsonb_exists(${labels}, ${key})`);
        break;
      case 'in':
        found.push(sql<boolean>`${labels} ->> ${key}::text = any(${requirement.values}::text[])`);
        break;
      case 'not_in':
        found.push(sql<boolean>`coalesce(not (${labels} ->> ${key}::text = any(${requirement.values}::text[])), true)`);
        break;
      default:
        requirement satisfies never;
    }
  }
  return found;
}

const COMPARISONS: Record<Exclude<TimeOperator, 'in'>, RawBuilder<unknown>> = {
  lt: sql`<`,
  lte: sql`<=`,
  gt: sql`>`,
  gte: sql`>=`,
};

/** `column = any(values)`. An empty list of values matches nothing. */
export function isOneOf(column: string, values: readonly string[]): RawBuilder<boolean> {
  return sql<boolean>`${sql.ref(column)} = any(${values}::text[])`;
}

/** As isOneOf, for names that are compared without case. */
export function isOneOfNames(column: string): (values: string[]) => RawBuilder<boolean> {
  return (values) =>
    sql<boolean>`lower(${sql.ref(column)}) = any(${values.map((value) => value.toLowerCase())}::text[])`;
}

/**
 * What a caller may see of things in spaces. `columns.space` is the column with the space's guid, `columns.organization` the
 * one with its organization's.
 */
export function isWithin(scope: Scope, columns: { space: string; organization: string }): RawBuilder<boolean> {
  if (scope.everywhere) return sql<boolean>`true`;
  return sql<boolean>`(${isOneOf(columns.organization, scope.organization_guids)} or ${isOneOf(columns.space, scope.space_guids)})`;
}

/** As isWithin, for things that hold a space's guid alone. */
export function isInPermittedSpace(scope: Scope, space_column: string): RawBuilder<boolean> {
  if (scope.everywhere) return sql<boolean>`true`;
  const spaces = sql`select guid from spaces where organization_guid = any(${scope.organization_guids}::text[])`;
  return sql<boolean>`(${isOneOf(space_column, scope.space_guids)} or ${sql.ref(space_column)} in (${spaces}))`;
}

/** What a caller may see of things in organizations: by a role there, or in one of its spaces. */
export function isInPermittedOrganization(scope: Scope, column: string): RawBuilder<boolean> {
  if (scope.everywhere) return sql<boolean>`true`;
  return isOneOf(column, [...scope.organization_guids, ...scope.space_organization_guids]);
}

/** The body of a list: `pagination` with absolute links, `resources`, and `included` when asked for. */
export function presentPage<Row>(
  page: Page<Row>,
  options: {
    query: ListQuery;
    links: Links;
    present: (row: Row) => unknown;
    included?: Record<string, unknown[]> | undefined;
  },
): Record<string, unknown> {
  const { query, links } = options;
  const total_pages = Math.max(1, Math.ceil(page.total / query.per_page));
  const to = (number: number): { href: string } => {
    const params = new URLSearchParams(query.rest);
    params.set('page', String(number));
    params.set('per_page', String(query.per_page));
    return links.to(`${query.path}?${params.toString()}`);
  };
  return {
    pagination: {
      total_results: page.total,
      total_pages,
      first: to(1),
      last: to(total_pages),
      next: query.page < total_pages ? to(query.page + 1) : null,
      previous: query.page > 1 ? to(query.page - 1) : null,
    },
    resources: page.rows.map((row) => options.present(row)),
    ...(options.included && { included: options.included }),
  };
}
