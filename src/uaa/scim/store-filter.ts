import { sql, type RawBuilder } from 'kysely';
import type { Attribute, Attributes } from './attributes.ts';
import { invalid, type Filter, type FilterValue, type Operator } from './filter.ts';

type Condition = RawBuilder<boolean>;

const SYMBOLS = { eq: '=', ne: 'is distinct from', gt: '>', ge: '>=', lt: '<', le: '<=' } as const;

/**
 * A filter as a SQL condition. Columns come from `attributes` alone and values are bound, so nothing of the filter's text
 * becomes SQL. Errors: scim (400) for an attribute that is not there or a value of the wrong type.
 */
export function filterCondition(filter: Filter, attributes: Attributes): Condition {
  switch (filter.kind) {
    case 'and':
    case 'or': {
      const terms = filter.terms.map((term) => filterCondition(term, attributes));
      return sql<boolean>`(${sql.join(terms, filter.kind === 'and' ? sql` and ` : sql` or `)})`;
    }
    case 'not':
      return sql<boolean>`(not coalesce(${filterCondition(filter.term, attributes)}, false))`;
    case 'present': {
      const attribute = attributeOf(filter.attribute, attributes);
      const column = sql.ref(attribute.column);
      const isText = attribute.type === 'text' || attribute.type === 'exact';
      return isText ? sql<boolean>`(${column} is not null and ${column} <> '')` : sql<boolean>`(${column} is not null)`;
    }
    case 'compare':
      return comparison(attributeOf(filter.attribute, attributes), filter.operator, filter.value);
    default:
      return filter satisfies never;
  }
}

/** The attribute of a SCIM name, in any case, with or without the schema's urn before it. Errors: scim (400). */
export function attributeOf(name: string, attributes: Attributes): Attribute {
  const short = name.toLowerCase().replace(/^urn:(?:[^:]+:)+/, '');
  const attribute = Object.hasOwn(attributes, short) ? attributes[short] : undefined;
  if (!attribute) throw invalid(`${name} is not an attribute that can be searched`);
  return attribute;
}

function comparison(attribute: Attribute, operator: Operator, value: FilterValue): Condition {
  const column = sql.ref(attribute.column);
  if (value === null) {
    if (operator === 'eq') return sql<boolean>`(${column} is null)`;
    if (operator === 'ne') return sql<boolean>`(${column} is not null)`;
    throw invalid('null can be compared by eq and ne alone');
  }
  const left = attribute.type === 'text' ? sql`lower(${column})` : column;
  if (operator === 'co' || operator === 'sw' || operator === 'ew') {
    if (attribute.type !== 'text' && attribute.type !== 'exact') throw invalid(`${operator} is for texts`);
    const pattern = `${operator === 'sw' ? '' : '%'}${escapeLike(textOf(value))}${operator === 'ew' ? '' : '%'}`;
    const right = attribute.type === 'text' ? sql`lower(${pattern})` : sql`${pattern}`;
    return sql<boolean>`(${left} like ${right})`;
  }
  return sql<boolean>`(${left} ${sql.raw(SYMBOLS[operator])} ${boundValue(attribute, value)})`;
}

function boundValue(attribute: Attribute, value: string | number | boolean): RawBuilder<unknown> {
  switch (attribute.type) {
    case 'text':
      return sql`lower(${textOf(value)})`;
    case 'exact':
      return sql`${textOf(value)}`;
    case 'boolean': {
      const isTrue = typeof value === 'string' ? { true: true, false: false }[value.toLowerCase()] : value;
      if (typeof isTrue !== 'boolean') throw invalid(`${String(value)} is not true or false`);
      return sql`${isTrue}::boolean`;
    }
    case 'number':
      if (!Number.isFinite(Number(value)) || typeof value === 'boolean' || value === '')
        throw invalid(`${String(value)} is not a number`);
      return sql`${Number(value)}::numeric`;
    case 'time': {
      const time = new Date(typeof value === 'boolean' ? NaN : value);
      if (Number.isNaN(time.getTime())) throw invalid(`${String(value)} is not a time`);
      return sql`${time.toISOString()}::timestamptz`;
    }
    default:
      return attribute.type satisfies never;
  }
}

function textOf(value: string | number | boolean): string {
  const text = String(value);
  if (text.includes('\0')) throw invalid('a null character cannot be searched for');
  return text;
}

/** `%`, `_` and the escape itself stand for themselves. */
const escapeLike = (text: string): string => text.replace(/[\\%_]/g, '\\$&');
