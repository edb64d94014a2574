import {
  type ColumnUpdateNode,
  type InsertQueryNode,
  type KyselyPlugin,
  type OperationNode,
  OperationNodeTransformer,
  type PluginTransformQueryArgs,
  type PluginTransformResultArgs,
  PrimitiveValueListNode,
  type QueryId,
  type QueryResult,
  type RootOperationNode,
  type UnknownRow,
  ValueListNode,
  ValueNode,
  ValuesNode,
} from 'kysely';

export interface SealedColumnsOptions {
  /** Columns of JSON that are kept sealed, whatever their table; with the name of a field, that field of the JSON alone. */
  columns: Readonly<Record<string, { field?: string }>>;
  seal: (value: unknown, column: string) => string;
  open: (text: string, column: string) => unknown;
}

/**
 * Seals columns on their way into the database and opens them on their way out, so that no statement can forget it. A sealed
 * value is a JSON text in the place of an object; what is no text was written before there was a key. It is opened only when
 * it is looked at: most lists do not.
 */
export class SealedColumns implements KyselyPlugin {
  readonly #options: SealedColumnsOptions;
  readonly #writing: Sealing;

  constructor(options: SealedColumnsOptions) {
    this.#options = options;
    this.#writing = new Sealing(options);
  }

  transformQuery({ node, queryId }: PluginTransformQueryArgs): RootOperationNode {
    return this.#writing.transformNode(node, queryId);
  }

  async transformResult({ result }: PluginTransformResultArgs): Promise<QueryResult<UnknownRow>> {
    for (const row of result.rows) {
      for (const [column, { field }] of Object.entries(this.#options.columns)) {
        const value = row[column];
        if (field === undefined) this.#open(row, column, column);
        else if (isObject(value)) this.#open(value, field, column);
      }
    }
    return result;
  }

  #open(holder: Record<string, unknown>, key: string, column: string): void {
    const text = holder[key];
    if (typeof text !== 'string') return;
    const { open } = this.#options;
    let opened: { value: unknown } | undefined;
    Object.defineProperty(holder, key, {
      get: () => (opened ??= { value: open(text, column) }).value,
      enumerable: true,
      configurable: true,
    });
  }
}

/** Rewrites the values that inserts and updates give to those columns; they come as JSON texts. */
class Sealing extends OperationNodeTransformer {
  readonly #options: SealedColumnsOptions;

  constructor(options: SealedColumnsOptions) {
    super();
    this.#options = options;
  }

  protected override transformInsertQuery(node: InsertQueryNode, queryId?: QueryId): InsertQueryNode {
    const insert = super.transformInsertQuery(node, queryId);
    const { columns, values } = insert;
    if (!columns || !values || !ValuesNode.is(values)) return insert;
    const names = columns.map(({ column }) => column.name);
    if (!names.some((name) => name in this.#options.columns)) return insert;
    const rows = values.values.map((row) =>
      PrimitiveValueListNode.is(row)
        ? PrimitiveValueListNode.create(row.values.map((value, at) => this.#sealed(names[at], value)))
        : ValueListNode.create(row.values.map((value, at) => this.#sealedNode(names[at], value))),
    );
    return { ...insert, values: ValuesNode.create(rows) };
  }

  protected override transformColumnUpdate(node: ColumnUpdateNode, queryId?: QueryId): ColumnUpdateNode {
    const update = super.transformColumnUpdate(node, queryId);
    const { column } = update;
    const name = 'column' in column ? nameOf(column.column) : undefined;
    return name === undefined ? update : { ...update, value: this.#sealedNode(name, update.value) };
  }

  #sealedNode(name: string | undefined, node: OperationNode): OperationNode {
    return ValueNode.is(node) ? ValueNode.create(this.#sealed(name, node.value)) : node;
  }

  #sealed(name: string | undefined, value: unknown): unknown {
    const how = name === undefined ? undefined : this.#options.columns[name];
    if (name === undefined || how === undefined || typeof value !== 'string') return value;
    const { seal } = this.#options;
    const given: unknown = JSON.parse(value);
    const { field } = how;
    if (field === undefined) return isEmpty(given) ? value : JSON.stringify(seal(given, name));
    if (!isObject(given) || isEmpty(given[field])) return value;
    return JSON.stringify({ ...given, [field]: seal(given[field], name) });
  }
}

function nameOf(node: unknown): string | undefined {
  return isObject(node) && typeof node['name'] === 'string' ? node['name'] : undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Nothing is in it that could be secret. */
const isEmpty = (value: unknown): boolean =>
  value === undefined || (isObject(value) && Object.keys(value).length === 0);
