/**
 * The thread of a search: opens the log store's file for reading alone, looks through its share of a source's blocks, and sends back
 * what it found as one chunk. The main thread goes on serving meanwhile.
 */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { openBody } from './block-file.ts';
import { Chunk, ChunkDamaged } from './chunk.ts';
import { Found } from './found.ts';
import type { SearchAnswer, SearchRequest } from './search-pool.ts';
import { TextSearch } from './text-search.ts';

const { path } = workerData as { path: string };
const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
const COLUMNS = 'id, oldest, newest, kinds, filter';

/** Blocks written one after another go to different threads, so that each finds its part of the first page soon. */
const WHERE = 'source = ? and newest >= ? and oldest < ? and id <= ? and id % ? = ?';
const statements = {
  ascending: `select ${COLUMNS} from block where ${WHERE} order by oldest, id`,
  descending: `select ${COLUMNS} from block where ${WHERE} order by newest desc, id desc`,
};
const body = database.prepare('select body from block where id = ?');

function search(request: SearchRequest): SearchAnswer {
  const { key, start, end, limit, descending, kinds, max_id, share, shares, terms, deadline_ms } = request;
  const text = new TextSearch(terms);
  let matches: (chunk: Chunk, at: number) => boolean = () => false;
  const found = new Found({ start, end, limit, descending, kinds, matches: (chunk, at) => matches(chunk, at) });
  const list = database.prepare(descending ? statements.descending : statements.ascending);
  list.setReadBigInts(true);
  let scanned = 0;
  for (const row of list.iterate(key, start, end, max_id, shares, share)) {
    if (found.isFullBefore({ oldest: row['oldest'] as bigint, newest: row['newest'] as bigint })) break;
    if ((Number(row['kinds']) & kinds) === 0 || !text.mayHold(bufferOf(row['filter']))) continue;
    if (performance.timeOrigin + performance.now() > deadline_ms) return { isLate: true, scanned };
    const chunk = open(Number(row['id']));
    if (!chunk) continue;
    scanned += 1;
    const matcher = text.matcher(chunk);
    if (!matcher) continue;
    matches = matcher;
    found.add(chunk);
  }
  const { entries } = found;
  return entries.length === 0 ? { scanned } : { scanned, chunk: Chunk.encode(entries).bytes };
}

function open(id: number): Chunk | undefined {
  const row = body.get(id);
  try {
    return row && openBody(bufferOf(row['body']));
  } catch (error) {
    // The store tells of damage when it reads the block itself.
    if (error instanceof ChunkDamaged) return undefined;
    throw error;
  }
}

function bufferOf(value: unknown): Buffer {
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.alloc(4);
}

parentPort?.on('message', (request: SearchRequest) => {
  let answer: SearchAnswer;
  try {
    answer = search(request);
  } catch (error) {
    answer = { scanned: 0, error: error instanceof Error ? error.message : String(error) };
  }
  parentPort?.postMessage({ ...answer, id: request.id }, []);
});
