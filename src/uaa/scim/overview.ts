import { sql } from 'kysely';
import type { Database } from '#db/database.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { UaaTables } from '../tables.ts';

/** A row of a big table by its place in the order of creation, counted from 1. */
export interface Landmark {
  place: number;
  /** As PostgreSQL writes it: a Date would lose the microseconds. */
  created_at: string;
  id: string;
}

interface Survey {
  total: number;
  landmarks: readonly Landmark[];
  /** When it is to be done again. */
  stale_at_ms: number;
}

/** To pass over more rows than this takes longer than to read a page. */
const BIG_ROWS = 20_000;
const STRIDE = 1_000;
const FRESH_MS = 5_000;
/** Surveys take at most a hundredth of the time: of a hundred pages at most one waits beside one. */
const REST_FACTOR = 100;

/**
 * How many users there are, and where each thousandth of them stands, so that a page far into a big table is found without
 * passing over all that is before it. Surveyed again in the background after some seconds; of a small table nothing is kept.
 */
export class Overview {
  readonly #database: Database<UaaTables>;
  readonly #clock: Clock;
  readonly #log: Log;
  #survey: Survey | undefined;
  #isLooking = false;

  constructor(options: { database: Database<UaaTables>; clock: Clock; log: Log }) {
    this.#database = options.database;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** The number of users when they are many; undefined when they are few and can as well be counted. */
  total(): number | undefined {
    return this.#current()?.total;
  }

  /** The last landmark at or before a place. */
  before(place: number): Landmark | undefined {
    return this.#current()?.landmarks[Math.ceil(place / STRIDE) - 1];
  }

  /** Says what a count gave: whether there are so many that it is worth to survey them. */
  heard(total: number): void {
    if (total > BIG_ROWS && this.#survey === undefined) this.#refresh();
    if (total <= BIG_ROWS) this.#survey = undefined;
  }

  #current(): Survey | undefined {
    if (this.#survey && this.#clock.monotonic() >= this.#survey.stale_at_ms) this.#refresh();
    return this.#survey;
  }

  #refresh(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    void this.#look()
      .catch((error: unknown) => {
        this.#survey = undefined;
        this.#log.warn({ error: describeError(error) }, 'users not surveyed');
      })
      .finally(() => (this.#isLooking = false));
  }

  async #look(): Promise<void> {
    const began_ms = this.#clock.monotonic();
    const { query } = this.#database;
    const { rows: landmarks } = await sql<Landmark>`
      select place::int, created_at::text, id
      from (select created_at, id, row_number() over (order by created_at, id) as place from users) u
      where place % ${sql.lit(STRIDE)} = 1 order by place`.execute(query);
    const last = landmarks.at(-1);
    if (!last) return;
    const { rows } = await sql<{ after: number }>`
      select count(*)::int as after from users
      where (created_at, id) > (${last.created_at}::timestamptz, ${last.id})`.execute(query);
    const total = last.place + (rows[0]?.after ?? 0);
    const now_ms = this.#clock.monotonic();
    const stale_at_ms = now_ms + Math.max(FRESH_MS, (now_ms - began_ms) * REST_FACTOR);
    this.#survey = total > BIG_ROWS ? { total, landmarks, stale_at_ms } : undefined;
  }
}
