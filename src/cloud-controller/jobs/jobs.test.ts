import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { z } from 'zod';
import { unprocessable } from '#contracts/cf-errors.ts';
import { Database } from '#db/database.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { TestPostgres } from '#testing/postgres.ts';
import type { CcTables, JobRow } from '../tables.ts';
import { JobRegistry } from './registry.ts';
import { JobRunner } from './runner.ts';
import { cancelJob, findJob, insertJob, sweepJobs, takeJob } from './store.ts';

describe('jobs', () => {
  let postgres: TestPostgres;
  let database: Database<CcTables>;
  before(async () => {
    postgres = await TestPostgres.start();
    const url = await postgres.createDatabase('migrations/cloud-controller');
    database = new Database<CcTables>({ url, max_connections: 10, application_name: 'test', log: silentLog });
  });
  after(async () => {
    await database[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
  });

  const runner = (registry: JobRegistry, lease_s = 15): JobRunner =>
    new JobRunner({
      db: database.query,
      registry,
      clock: systemClock,
      log: silentLog,
      workers: 4,
      poll_interval_s: 0.05,
      lease_s,
      timeout_s: 3600,
      retention_days: 1,
    });
  const enqueue = async (operation: string, payload: unknown = {}): Promise<string> =>
    await insertJob(database.query, { operation, payload, user_guid: null });
  const ended = async (guid: string): Promise<JobRow> =>
    await eventually(`the end of job ${guid}`, async () => {
      const job = await findJob(database.query, guid);
      return job && (job.state === 'COMPLETE' || job.state === 'FAILED') ? job : undefined;
    });
  const any = (given: unknown): unknown => given;

  it('are each done once, however many workers there are', async () => {
    const done: string[] = [];
    const registry = new JobRegistry();
    const Payload = z.object({ name: z.string() });
    registry.register(
      'once',
      (given) => Payload.parse(given),
      async ({ name }) => void done.push(name),
    );
    const names = Array.from({ length: 40 }, (_, index) => `job-${index}`);
    const guids = await Promise.all(names.map(async (name) => await enqueue('once', { name })));
    await using _one = runner(registry);
    await using _other = runner(registry);
    for (const guid of guids) assert.equal((await ended(guid)).state, 'COMPLETE');
    assert.deepEqual(done.sort(), names.sort());
  });

  it('go on with another worker when theirs died', async () => {
    const guid = await enqueue('orphan');
    const dead = await takeJob(database.query, { name: 'dead', lease_s: 0.2, operations: ['orphan'] });
    assert.equal(dead?.guid, guid);
    const registry = new JobRegistry();
    const attempts: number[] = [];
    registry.register('orphan', any, async (_payload, { attempt }) => void attempts.push(attempt));
    await using _runner = runner(registry);
    assert.equal((await ended(guid)).state, 'COMPLETE');
    assert.deepEqual(attempts, [2]);
  });

  it('are not given to another worker while theirs lives, however long they take', async () => {
    const registry = new JobRegistry();
    let begun = 0;
    const release = Promise.withResolvers<void>();
    registry.register('long', any, async () => {
      begun += 1;
      await release.promise;
    });
    const guid = await enqueue('long');
    await using _one = runner(registry, 0.3);
    await using _other = runner(registry, 0.3);
    await eventually('renewals of the lease', async () => {
      const job = await findJob(database.query, guid);
      const until_ms = job?.locked_until?.getTime() ?? 0;
      return job !== undefined && until_ms > job.created_at.getTime() + 1500;
    });
    release.resolve();
    assert.equal((await ended(guid)).state, 'COMPLETE');
    assert.equal(begun, 1);
  });

  it('end with an error that one can read, and tell nothing of faults of ours', async () => {
    const registry = new JobRegistry();
    registry.register('refused', any, async () => {
      throw unprocessable('This cannot be done.');
    });
    registry.register('broken', any, async () => {
      throw new Error('a secret detail');
    });
    const [refused, broken] = [await enqueue('refused'), await enqueue('broken')];
    await using _runner = runner(registry);
    assert.deepEqual((await ended(refused)).errors, [
      { code: 10008, title: 'CF-UnprocessableEntity', detail: 'This cannot be done.' },
    ]);
    assert.deepEqual((await ended(broken)).errors, [
      { code: 10001, title: 'CF-ServerError', detail: 'An unexpected error occurred.' },
    ]);
  });

  it('can be called again and again with what they remember, and end with warnings', async () => {
    const registry = new JobRegistry();
    const Payload = z.object({ round: z.number() });
    const states: string[] = [];
    registry.register(
      'polling',
      (given) => Payload.parse(given),
      async ({ round }, { job_guid }) => {
        states.push((await findJob(database.query, job_guid))?.state ?? '');
        if (round < 3) return { again_in_ms: 5, payload: { round: round + 1 } };
        return { warnings: ['it took three rounds'] };
      },
    );
    const guid = await enqueue('polling', { round: 1 });
    await using _runner = runner(registry);
    assert.deepEqual((await ended(guid)).warnings, [{ detail: 'it took three rounds' }]);
    assert.deepEqual(states, ['PROCESSING', 'POLLING', 'POLLING']);
  });

  it('write what they did and that they are done as one, and nothing once they were ended by an operator', async () => {
    const registry = new JobRegistry();
    const held = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    registry.register('atomic', any, async (_payload, context) => {
      begun.resolve();
      await held.promise;
      await context.db.transaction().execute(async (trx) => {
        await trx
          .insertInto('feature_flags')
          .values({ name: 'made_by_job', enabled: true, custom_error_message: null })
          .execute();
        await context.complete(trx);
      });
    });
    const guid = await enqueue('atomic');
    await using _runner = runner(registry);
    await begun.promise;
    assert.equal(await cancelJob(database.query, guid), true);
    assert.equal(await cancelJob(database.query, guid), false);
    held.resolve();
    const job = await ended(guid);
    assert.match(job.errors[0]?.detail ?? '', /operator/);
    const made = await database.query
      .selectFrom('feature_flags')
      .selectAll()
      .where('name', '=', 'made_by_job')
      .execute();
    assert.deepEqual(made, []);
  });

  it('that go on for too long are failed, and those that ended long ago forgotten', async () => {
    const [stuck, old] = [await enqueue('nobody-does-this'), await enqueue('nobody-does-this')];
    await database.query
      .updateTable('jobs')
      .set({ updated_at: new Date(0), run_at: new Date(0) })
      .where('guid', '=', stuck)
      .execute();
    await database.query
      .updateTable('jobs')
      .set({ state: 'COMPLETE', updated_at: new Date(0) })
      .where('guid', '=', old)
      .execute();
    await sweepJobs(database.query, { timeout_s: 60, retention_days: 1 });
    assert.equal((await findJob(database.query, stuck))?.errors[0]?.title, 'CF-JobTimeout');
    assert.equal(await findJob(database.query, old), undefined);
  });
});
