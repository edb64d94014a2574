import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { Clock } from '#kernel/clock.ts';
import type { Access, Reader } from './access.ts';
import type { Entry, Kind } from './chunk.ts';
import { kindBits } from './found.ts';
import { type LiveReaders, type Selector } from './live.ts';
import { authenticated, SourceHidden } from './log-cache.ts';
import { all, first, QueryInvalid, type QueryParameters } from './read-query.ts';
import { renderBatch } from './render.ts';
import type { LogStore } from './store.ts';

export interface LogStreamOptions {
  live: LiveReaders;
  store: LogStore;
  access: Access;
  clock: Clock;
  /** What may wait for a slow reader, in bytes. */
  reader_buffer_bytes: number;
}

const HEARTBEAT_MS = 10_000;
const RECHECK_MS = 60_000;
const MAX_RECENT = 1_000;
const MAX_SOURCES = 100;
const TYPES: Readonly<Record<string, readonly Kind[]>> = {
  log: ['OUT', 'ERR'],
  counter: ['COUNTER'],
  gauge: ['GAUGE'],
  timer: ['TIMER'],
  event: ['EVENT'],
};

/**
 * The log stream: `GET /v2/read?log&gauge&source_id=…&shard_id=…&deterministic_name=…` as server-sent events, each
 * `data: {"batch":[…]}`, with heartbeats. Source: loggregator's RLP gateway. Ours alone: `recent=N` begins with the last N
 * envelopes of each source (at most 1000), without gap or repetition before what comes live.
 */
export class LogStream implements AsyncDisposable {
  readonly #options: LogStreamOptions;
  readonly #open = new Set<ServerResponse>();

  constructor(server: FastifyInstance, options: LogStreamOptions) {
    this.#options = options;
    server.get<{ Querystring: QueryParameters }>('/v2/read', async (request, reply) => {
      const reader = await authenticated(options.access, request.headers.authorization);
      const { selector, recent } = parseSelector(request.query);
      if (!(await mayReadAll(options.access, reader, selector))) throw new SourceHidden();
      reply.hijack();
      const closed = this.#stream(reply.raw, { selector, recent, reader });
      reply.raw.once('close', () => closed.dispose());
    });
  }

  get count(): number {
    return this.#open.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const response of this.#open) response.end('event: closing\ndata: closing due to server restart\n\n');
    this.#open.clear();
  }

  #stream(
    response: ServerResponse,
    { selector, recent, reader }: { selector: Selector; recent: number; reader: Reader },
  ): DisposableStack {
    const { live, clock, reader_buffer_bytes } = this.#options;
    const stack = new DisposableStack();
    response.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-cache',
      Connection: 'keep-alive',
      'X-Accel-Buffering': 'no',
    });
    response.flushHeaders();
    // Small events must not wait for the acknowledgement of the one before.
    response.socket?.setNoDelay(true);
    this.#open.add(response);
    stack.defer(() => this.#open.delete(response));
    const send = (source_id: string, entries: readonly Entry[]): boolean => {
      if (response.writableLength > reader_buffer_bytes) return false;
      response.write(`data: {"batch":${renderBatch(source_id, entries, 'camel')}}\n\n`);
      return true;
    };
    if (recent === 0) stack.use(live.add(selector, send));
    else this.#replay(selector, { recent, send, stack });
    stack.use(
      clock.every(HEARTBEAT_MS, () => {
        response.write(`event: heartbeat\ndata: ${Math.floor(clock.now() / 1000)}\n\n`);
      }),
    );
    stack.use(clock.every(RECHECK_MS, async () => await this.#recheck(response, reader, selector)));
    return stack;
  }

  /** What comes while the recent is read waits for it. */
  #replay(
    selector: Selector,
    {
      recent,
      send,
      stack,
    }: { recent: number; send: (id: string, entries: readonly Entry[]) => boolean; stack: DisposableStack },
  ): void {
    const { live, store, clock } = this.#options;
    let waiting: [string, readonly Entry[]][] | undefined = [];
    const end = BigInt(Math.ceil(clock.now()) + 1) * 1_000_000n;
    const query = { start: -(2n ** 63n), end, limit: recent, descending: true, kinds: selector.kinds };
    // A read sees what was there when it began, and the live reader what comes after: both begin in this same turn.
    const reads = selector.source_ids.map(
      async (source_id) => [source_id, await store.read(source_id, query)] as const,
    );
    stack.use(
      live.add(selector, (source_id, entries) => {
        if (!waiting) return send(source_id, entries);
        if (waiting.length > 10_000) return false;
        waiting.push([source_id, entries]);
        return true;
      }),
    );
    void (async () => {
      for (const read of await Promise.allSettled(reads)) {
        if (read.status === 'fulfilled' && read.value[1].length > 0) send(read.value[0], read.value[1].toReversed());
      }
      for (const [source_id, entries] of waiting ?? []) send(source_id, entries);
      waiting = undefined;
    })();
  }

  /** A stream lasts no longer than the permission for it. */
  async #recheck(response: ServerResponse, reader: Reader, selector: Selector): Promise<void> {
    const { access } = this.#options;
    try {
      const again = await access.reader(`bearer ${reader.token}`);
      if (again && (await mayReadAll(access, again, selector))) return;
    } catch {
      // Who cannot be asked has not refused.
      return;
    }
    response.end('event: closing\ndata: no longer permitted\n\n');
  }
}

/** Errors: QueryInvalid. */
function parseSelector(parameters: QueryParameters): { selector: Selector; recent: number } {
  const kinds = Object.entries(TYPES).flatMap(([name, kind]) => (parameters[name] === undefined ? [] : kind));
  if (kinds.length === 0) throw new QueryInvalid('query must provide at least one envelope type selector');
  const source_ids = [...new Set(all(parameters, 'source_id').filter((id) => id !== ''))];
  if (source_ids.length > MAX_SOURCES) throw new QueryInvalid(`at most ${MAX_SOURCES} sources in one stream`);
  const recent = Number(first(parameters, 'recent') ?? '0');
  if (!Number.isInteger(recent) || recent < 0 || recent > MAX_RECENT) {
    throw new QueryInvalid(`recent must be a whole number up to ${MAX_RECENT}`);
  }
  const shard_id = first(parameters, 'shard_id');
  const deterministic_name = first(parameters, 'deterministic_name');
  return {
    recent,
    selector: {
      source_ids,
      kinds: kindBits(...kinds),
      ...(shard_id !== undefined && shard_id !== '' && { shard_id }),
      ...(deterministic_name !== undefined && { deterministic_name }),
    },
  };
}

async function mayReadAll(access: Access, reader: Reader, { source_ids }: Selector): Promise<boolean> {
  if (source_ids.length === 0) return reader.isAdmin;
  for (const source_id of source_ids) if (!(await access.mayRead(reader, source_id))) return false;
  return true;
}
