import { badQuery, type ListQuery } from './list.ts';

/** What `fields[resource]=key,key` may ask for: per resource its keys, such as `name` or `relationships.organization`. */
export type FieldSpec = Readonly<Record<string, readonly string[]>>;
/** What was asked for, per resource. */
export type Fields = ReadonlyMap<string, readonly string[]>;

/** The query parameters of a FieldSpec, for a list's `plain`. */
export function fieldParameters(spec: FieldSpec): string[] {
  return Object.keys(spec).map((resource) => `fields[${resource}]`);
}

/** Errors: 400 CF-BadQueryParameter for a key that the resource does not have. */
export function parseFields(query: ListQuery, spec: FieldSpec): Fields {
  const asked = Object.entries(spec).flatMap(([resource, known]): [string, string[]][] => {
    const text = query.plain[`fields[${resource}]`];
    if (text === undefined) return [];
    const keys = text.split(',').map((key) => key.trim());
    if (keys.some((key) => !known.includes(key))) {
      const names = known.map((key) => `'${key}'`).join(', ');
      throw badQuery(`Fields valid keys for '${resource}' are: ${names}`);
    }
    return [[resource, keys]];
  });
  return new Map(asked);
}

/** The asked keys of what a presenter made. */
export function pickFields(presented: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  const picked: Record<string, unknown> = {};
  for (const key of keys) {
    const [first = '', second] = key.split('.');
    if (second === undefined) picked[first] = presented[first];
    else {
      const before = picked[first];
      const outer = presented[first];
      const value: unknown = typeof outer === 'object' && outer !== null ? Reflect.get(outer, second) : undefined;
      picked[first] = { ...(typeof before === 'object' ? before : {}), [second]: value };
    }
  }
  return picked;
}
