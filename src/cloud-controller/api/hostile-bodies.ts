/** For the test of bad input: what a body can be that its schema does not mean. */

/** As much of JSON Schema as the openapi document uses for bodies. */
export interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
}

type Path = readonly (string | number)[];

/** One of these at every place, in turn. */
const WRONG: readonly unknown[] = [null, 7, 'x', true, [], {}, [[null]]];
/** One each at every place in turn: what breaks out of SQL, paths, numbers, texts and prototypes. */
const TRICKS: readonly unknown[] = [
  "x'; drop table apps; --",
  '../../../../etc/passwd',
  'a\u0000b',
  '\ud800',
  '',
  'y'.repeat(70_000),
  1e300,
  -1,
  0.5,
  2 ** 53,
  JSON.parse('{"__proto__":{"admin":true}}'),
  Array.from({ length: 2000 }, () => ({ guid: 'none' })),
];
const MAX_DEPTH = 5;

/** A good body with one thing wrong, for each place that the schema or the body has: wrong types, tricks, missing and unknown fields. */
export function* hostileBodies(schema: Schema, good: unknown): Generator<{ what: string; body: unknown }> {
  let turn = 0;
  const places = new Map<string, Path>();
  for (const path of [...placesOf(schema), ...placesIn(good)]) places.set(path.join('.'), path);
  for (const [name, path] of places) {
    turn += 1;
    for (const value of [WRONG[turn % WRONG.length], TRICKS[turn % TRICKS.length]])
      yield { what: `${name} = ${JSON.stringify(value).slice(0, 40)}`, body: withAt(good, path, value) };
    yield { what: `${name} missing`, body: withAt(good, path, undefined) };
    yield { what: `${name} with an unknown field`, body: withAt(good, [...path, 'no_such_field'], 1) };
  }
  yield { what: 'an unknown field', body: withAt(good, ['no_such_field'], 1) };
}

function* placesOf(schema: Schema, path: Path = []): Generator<Path> {
  if (path.length > 0) yield path;
  if (path.length >= MAX_DEPTH) return;
  for (const [name, inner] of Object.entries(schema.properties ?? {})) yield* placesOf(inner, [...path, name]);
  if (schema.items) yield* placesOf(schema.items, [...path, 0]);
  for (const one of schema.anyOf ?? []) yield* placesOf(one, path);
}

function* placesIn(value: unknown, path: Path = []): Generator<Path> {
  if (path.length > 0) yield path;
  if (typeof value !== 'object' || value === null) return;
  const inners: [string | number, unknown][] = Array.isArray(value) ? [[0, value[0]]] : Object.entries(value);
  for (const [name, inner] of inners) yield* placesIn(inner, [...path, name]);
}

/** A copy with something else at a path, which is made where it is not; undefined takes it away. */
function withAt(value: unknown, path: Path, leaf: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return leaf;
  const isThere = typeof value === 'object' && value !== null;
  if (typeof key === 'number') {
    const list: unknown[] = Array.isArray(value) ? [...value] : [];
    list[key] = withAt(list[key], rest, leaf);
    return list;
  }
  const copy: Record<string, unknown> = isThere && !Array.isArray(value) ? { ...value } : {};
  const inner = withAt(copy[key], rest, leaf);
  if (inner === undefined) delete copy[key];
  else copy[key] = inner;
  return copy;
}
