import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { zstdCompressSync, zstdDecompressSync, constants } from 'node:zlib';
import { AppError } from '#kernel/errors.ts';
import { Chunk, ChunkDamaged } from './chunk.ts';

/** The file cannot be opened or written: the disk is full, gone, or another process holds it. */
export class LogStoreUnavailable extends AppError {
  constructor(what: string, options?: ErrorOptions) {
    super('log_store_unavailable', `the log store cannot ${what}`, options);
  }
}

/** What is known of a stored block without opening it. */
export interface BlockRow {
  id: number;
  oldest: bigint;
  newest: bigint;
  kinds: number;
}

export interface StoredSource {
  key: number;
  source_id: string;
  expired: number;
  blocks: number;
  count: number;
  bytes: number;
  oldest: bigint;
  newest: bigint;
}

export interface BlockRange {
  key: number;
  /** Inclusive. */
  start: bigint;
  /** Exclusive. */
  end: bigint;
  descending: boolean;
  /** Blocks written later than this one are left out. */
  max_id: number;
  /** Goes on behind this block. */
  after?: BlockRow;
  limit: number;
}

export interface SealedBlock {
  key: number;
  chunk: Chunk;
  filter: Buffer;
}

const SCHEMA = `
create table if not exists source (key integer primary key, source_id text not null unique, expired integer not null default 0);
create table if not exists block (
  id integer primary key autoincrement, source integer not null, oldest integer not null, newest integer not null,
  count integer not null, kinds integer not null, bytes integer not null, filter blob not null, body blob not null);
create index if not exists block_by_newest on block (source, newest, oldest, kinds, count, bytes);
create index if not exists block_by_oldest on block (source, oldest, newest, kinds);
create table if not exists journal (source integer not null, seq integer not null, body blob not null, primary key (source, seq));
`;

const COLUMNS = 'id, oldest, newest, kinds';

/**
 * The log store's one SQLite file. A block is a compressed chunk of one source; the journal holds what is not yet enough for a
 * block, so that a crash costs at most what came since the last commit. With WAL and synchronous = normal a commit costs no
 * fsync: a power failure may lose the last seconds, and never harms what is older.
 */
export class BlockFile implements Disposable {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Errors: LogStoreUnavailable. */
  constructor(folder: string) {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      this.#database = new DatabaseSync(BlockFile.path(folder), { timeout: 5_000 });
      this.#database.exec('pragma auto_vacuum = incremental; pragma journal_mode = wal; pragma synchronous = normal');
      this.#database.exec('pragma cache_size = -8192; pragma journal_size_limit = 67108864');
      this.#database.exec(SCHEMA);
    } catch (error) {
      throw new LogStoreUnavailable(`open ${BlockFile.path(folder)}`, { cause: error });
    }
  }

  static path(folder: string): string {
    return join(folder, 'logs.sqlite');
  }

  /** All that `work` writes is kept, or nothing. Errors: LogStoreUnavailable. */
  transaction(work: () => void): void {
    try {
      this.#database.exec('begin immediate');
      work();
      this.#database.exec('commit');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('rollback');
      throw new LogStoreUnavailable('write', { cause: error });
    }
  }

  sources(): StoredSource[] {
    const rows = this.#all(
      `select s.key, s.source_id, s.expired, count(b.id) as blocks, coalesce(sum(b.count), 0) as count,
              coalesce(sum(b.bytes), 0) as bytes, coalesce(min(b.oldest), 0) as oldest, coalesce(max(b.newest), 0) as newest
       from source s left join block b on b.source = s.key group by s.key`,
    );
    return rows.map((row) => ({
      key: Number(row['key']),
      source_id: String(row['source_id']),
      expired: Number(row['expired']),
      blocks: Number(row['blocks']),
      count: Number(row['count']),
      bytes: Number(row['bytes']),
      oldest: row['oldest'] as bigint,
      newest: row['newest'] as bigint,
    }));
  }

  addSource(source_id: string): number {
    return Number(this.#run('insert into source (source_id) values (?)', source_id).lastInsertRowid);
  }

  removeSource(key: number): void {
    this.#run('delete from journal where source = ?', key);
    this.#run('delete from source where key = ?', key);
  }

  setExpired(key: number, expired: number): void {
    this.#run('update source set expired = ? where key = ?', expired, key);
  }

  journal(key: number, seq: number, chunk: Chunk): void {
    this.#run('insert into journal (source, seq, body) values (?, ?, ?)', key, seq, chunk.bytes);
  }

  /** What the journal holds, oldest first; what cannot be read comes as an error. */
  *journaled(): Generator<{ key: number; seq: number; chunk: Chunk | ChunkDamaged }> {
    for (const row of this.#all('select source, seq, body from journal order by source, seq')) {
      yield {
        key: Number(row['source']),
        seq: Number(row['seq']),
        chunk: damagedOr(() => new Chunk(asBuffer(row['body']))),
      };
    }
  }

  forgetJournal(key: number): void {
    this.#run('delete from journal where source = ?', key);
  }

  /** Stores a block and says its id and its bytes on disk. */
  seal({ key, chunk, filter }: SealedBlock): { id: number; bytes: number } {
    const body = zstdCompressSync(chunk.bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
    const bytes = body.length + filter.length;
    const { lastInsertRowid } = this.#run(
      'insert into block (source, oldest, newest, count, kinds, bytes, filter, body) values (?, ?, ?, ?, ?, ?, ?, ?)',
      key,
      chunk.oldest,
      chunk.newest,
      chunk.count,
      chunk.kindBits,
      bytes,
      filter,
      body,
    );
    return { id: Number(lastInsertRowid), bytes };
  }

  get maxBlockId(): number {
    return Number(this.#all('select coalesce(max(id), 0) as id from block')[0]?.['id'] ?? 0);
  }

  /** Blocks that overlap a range: by their oldest entry ascending, or by their newest descending. */
  blocks(range: BlockRange): BlockRow[] {
    const order = range.descending ? 'newest' : 'oldest';
    const way = range.descending ? 'desc' : 'asc';
    const beyond = range.descending ? '<' : '>';
    const { key, start, end, max_id, after, limit } = range;
    const values = [key, start, end, max_id, ...(after ? [after[order], after.id] : []), limit];
    const rows = this.#all(
      `select ${COLUMNS} from block where source = ? and newest >= ? and oldest < ? and id <= ?
       ${after ? `and (${order}, id) ${beyond} (?, ?)` : ''} order by ${order} ${way}, id ${way} limit ?`,
      ...values,
    );
    return rows.map(blockRow);
  }

  /** Undefined when it was pruned meanwhile. Errors: ChunkDamaged. */
  open(id: number): Chunk | undefined {
    const [row] = this.#all('select body from block where id = ?', id);
    return row && openBody(asBuffer(row['body']));
  }

  /** Deletes the source's blocks whose newest entry is before `cutoff`. */
  deleteBefore(key: number, cutoff: bigint): { count: number; bytes: number } {
    const [sum] = this.#all(
      'select coalesce(sum(count), 0) as count, coalesce(sum(bytes), 0) as bytes from block where source = ? and newest < ?',
      key,
      cutoff,
    );
    this.#run('delete from block where source = ? and newest < ?', key, cutoff);
    return { count: Number(sum?.['count'] ?? 0), bytes: Number(sum?.['bytes'] ?? 0) };
  }

  /** The time before which the source's blocks must go for at least `bytes` to become free. */
  cutoffFor(key: number, bytes: number): bigint {
    let freed = 0;
    let cutoff = 0n;
    const rows = this.#all('select newest, bytes from block where source = ? order by newest limit 4096', key);
    for (const row of rows) {
      freed += Number(row['bytes']);
      cutoff = (row['newest'] as bigint) + 1n;
      if (freed >= bytes) break;
    }
    return cutoff;
  }

  bounds(key: number): { blocks: number; oldest: bigint; newest: bigint } {
    const [row] = this.#all(
      'select count(*) as blocks, coalesce(min(oldest), 0) as oldest, coalesce(max(newest), 0) as newest from block where source = ?',
      key,
    );
    return {
      blocks: Number(row?.['blocks'] ?? 0),
      oldest: (row?.['oldest'] as bigint | undefined) ?? 0n,
      newest: (row?.['newest'] as bigint | undefined) ?? 0n,
    };
  }

  /** Gives freed pages back to the file system, a bounded number at a time. */
  shrink(): void {
    this.#database.exec('pragma incremental_vacuum(2048)');
  }

  [Symbol.dispose](): void {
    this.#statements.clear();
    if (this.#database.isOpen) this.#database.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#database.prepare(sql);
      statement.setReadBigInts(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #all(sql: string, ...values: Value[]): Record<string, unknown>[] {
    return this.#prepare(sql).all(...values);
  }

  #run(sql: string, ...values: Value[]): { lastInsertRowid: number | bigint } {
    return this.#prepare(sql).run(...values);
  }
}

type Value = string | number | bigint | Uint8Array;

/** Most blocks are no larger; opened in one piece they take half the time. */
const OPEN_BYTES = 352 * 1024;

/** Errors: ChunkDamaged. */
export function openBody(body: Buffer): Chunk {
  let bytes: Buffer;
  try {
    bytes = zstdDecompressSync(body, { chunkSize: OPEN_BYTES });
  } catch (error) {
    throw new ChunkDamaged('it cannot be decompressed', { cause: error });
  }
  return new Chunk(bytes);
}

function damagedOr(make: () => Chunk): Chunk | ChunkDamaged {
  try {
    return make();
  } catch (error) {
    if (error instanceof ChunkDamaged) return error;
    throw error;
  }
}

function blockRow(row: Record<string, unknown>): BlockRow {
  return {
    id: Number(row['id']),
    oldest: row['oldest'] as bigint,
    newest: row['newest'] as bigint,
    kinds: Number(row['kinds']),
  };
}

function asBuffer(value: unknown): Buffer {
  if (!(value instanceof Uint8Array)) throw new ChunkDamaged('it is no blob');
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
