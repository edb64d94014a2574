import { createContext, Script } from 'node:vm';
import { type OutputUnit, type Schema, type SchemaDraft, Validator } from '@cfworker/json-schema';
import { describeError } from '#kernel/errors.ts';

type Tree = Record<string, unknown>;

/** What checks of one schema may take: patterns of it may be made to run for ever. */
const LIMIT_MS = 1_000;
const SHOWN_FAULTS = 10;

/** Draft 4 is what brokers write (OSB 2.17); later ones are understood as well. */
const DRAFTS: readonly [RegExp, SchemaDraft][] = [
  [/^https?:\/\/json-schema\.org\/draft-04\/schema#?$/, '4'],
  [/^https?:\/\/json-schema\.org\/draft-0[67]\/schema#?$/, '7'],
  [/^https?:\/\/json-schema\.org\/draft\/2019-09\/schema#?$/, '2019-09'],
  [/^https?:\/\/json-schema\.org\/draft\/2020-12\/schema#?$/, '2020-12'],
];

const SELF = { $ref: '#' };
const MAP = { type: 'object', additionalProperties: SELF };
const LIST = { type: 'array', minItems: 1, items: SELF };
const COUNT = { type: 'integer', minimum: 0 };
const NAMES = { type: 'array', items: { type: 'string' }, uniqueItems: true };
const TYPE = { enum: ['array', 'boolean', 'integer', 'null', 'number', 'object', 'string'] };

/** What keywords must look like, so that a schema means something. Source: the meta schemas of drafts 4 and 7. */
function metaSchema(draft: SchemaDraft): Schema {
  const bound = draft === '4' ? { type: 'boolean' } : { type: 'number' };
  const meta: Tree = {
    type: draft === '4' ? ['object'] : ['object', 'boolean'],
    properties: {
      ...Object.fromEntries(
        ['$schema', 'id', '$id', '$ref', 'title', 'description', 'format'].map(of({ type: 'string' })),
      ),
      ...Object.fromEntries(
        ['properties', 'patternProperties', 'definitions', '$defs', 'dependentSchemas'].map(of(MAP)),
      ),
      ...Object.fromEntries(['allOf', 'anyOf', 'oneOf', 'prefixItems'].map(of(LIST))),
      ...Object.fromEntries(['minimum', 'maximum'].map(of({ type: 'number' }))),
      ...Object.fromEntries(['exclusiveMinimum', 'exclusiveMaximum'].map(of(bound))),
      ...Object.fromEntries(
        ['minLength', 'maxLength', 'minItems', 'maxItems', 'minProperties', 'maxProperties'].map(of(COUNT)),
      ),
      ...Object.fromEntries(['not', 'if', 'then', 'else', 'contains', 'propertyNames'].map(of(SELF))),
      ...Object.fromEntries(
        ['additionalProperties', 'additionalItems'].map(of({ anyOf: [{ type: 'boolean' }, SELF] })),
      ),
      items: { anyOf: [{ type: 'boolean' }, SELF, { type: 'array', items: SELF }] },
      dependencies: { type: 'object', additionalProperties: { anyOf: [SELF, NAMES] } },
      type: { anyOf: [TYPE, { type: 'array', items: TYPE, minItems: 1, uniqueItems: true }] },
      required: draft === '4' ? { ...NAMES, minItems: 1 } : NAMES,
      enum: { type: 'array', minItems: 1 },
      multipleOf: { type: 'number', exclusiveMinimum: 0 },
      pattern: { type: 'string', format: 'regex' },
      uniqueItems: { type: 'boolean' },
    },
  };
  return meta;
}

function of<Value>(value: Value): (key: string) => [string, Value] {
  return (key) => [key, value];
}

/** What is wrong with a schema that a catalog brings, as text; undefined when parameters can be checked against it. */
export function faultOfSchema(schema: Tree): string | undefined {
  const version = schema['$schema'];
  if (version === undefined) return 'Schema must have $schema key but was not present';
  if (findReferences(schema).some((reference) => !reference.startsWith('#'))) {
    return 'No external references are allowed';
  }
  const draft = draftOf(version);
  if (draft === undefined) return 'Custom meta schemas are not supported.';
  try {
    const [fault] = validate(metaSchema(draft), '7', schema);
    if (fault !== undefined) {
      return `Must conform to JSON Schema Draft 04 (experimental support for later versions): ${fault}`;
    }
    // References that lead nowhere or in circles, and patterns that are none, show at work alone.
    validate(schema, draft, {});
  } catch (error) {
    return reasonOf(error);
  }
  return undefined;
}

/** Where parameters are not as a plan's schema wants them, one text each. */
export function faultsOfParameters(schema: Tree, parameters: Tree): string[] {
  const draft = draftOf(schema['$schema']);
  // A plan that was there before catalogs were held to this: its broker decides.
  if (draft === undefined) return [];
  try {
    return validate(schema, draft, parameters);
  } catch (error) {
    return [`they cannot be checked: ${reasonOf(error)}`];
  }
}

function draftOf(version: unknown): SchemaDraft | undefined {
  if (typeof version !== 'string') return undefined;
  return DRAFTS.find(([pattern]) => pattern.test(version))?.[1];
}

/** Errors: whatever the schema makes the validator throw; after LIMIT_MS, that. */
function validate(schema: Schema, draft: SchemaDraft, value: unknown): string[] {
  // The validator writes into the schema that it is given.
  const check = (): OutputUnit[] => new Validator(structuredClone(schema), draft, false).validate(value).errors;
  const errors = new Script('check()').runInContext(createContext({ check }), { timeout: LIMIT_MS }) as OutputUnit[];
  return leaves(errors).map(textOf).slice(0, SHOWN_FAULTS);
}

/** An error of a property is told once, where it is, and not once more by each schema around it. */
function leaves(errors: readonly OutputUnit[]): OutputUnit[] {
  return errors.filter(
    ({ keyword, keywordLocation }) =>
      keyword !== 'additionalProperties' &&
      !errors.some((other) => other.keywordLocation.startsWith(`${keywordLocation}/`)),
  );
}

function textOf({ instanceLocation, keyword, error }: OutputUnit): string {
  const path = instanceLocation.replace(/^#\/?/, '');
  const what = keyword === 'false' ? 'is not known to the plan' : error.replace(/\.$/, '').replaceAll(/ {2,}/g, ' ');
  return path === '' ? what : `${path}: ${what}`;
}

function reasonOf(error: unknown): string {
  // A timeout's error is of another realm, and no instance of this one's Error.
  const isTimeout =
    typeof error === 'object' && error !== null && Reflect.get(error, 'code') === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
  if (isTimeout) return 'the check takes too long';
  if (error instanceof RangeError) return 'references lead in circles, or too deep';
  const [line = ''] = describeError(error).split('\n');
  return line.replace(/ {2}Absolute URI.*/, '');
}

function findReferences(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(findReferences);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
    key === '$ref' && typeof inner === 'string' ? [inner] : findReferences(inner),
  );
}
