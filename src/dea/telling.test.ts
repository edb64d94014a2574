import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { Reports } from './reports.ts';
import { Store, type PendingReport } from './store.ts';
import { INTERNAL_API, SimulatedController } from './testing/simulated-controller.ts';

describe('reports', () => {
  const report: PendingReport = {
    kind: 'task',
    guid: 't1',
    result: { failed: false, failure_reason: null, exit_status: 0 },
  };
  const open = (controller: SimulatedController, known: PendingReport[] = [], report_for_s = 60) => {
    const settings = { cc_url: controller.url, internal_api: INTERNAL_API, clock: systemClock, log: silentLog };
    return new Reports({ ...settings, known, report_for_s, changed: async () => {} });
  };

  it('are offered until they are taken, and known to be pending till then', async () => {
    await using controller = await SimulatedController.start();
    controller.status = 503;
    await using reports = open(controller);
    await reports.send(report);
    assert.deepEqual(reports.pending, [report]);
    controller.status = 200;
    await eventually('taken', () => controller.tasks.has('t1'));
    await eventually('forgotten', () => reports.pending.length === 0);
  });

  for (const status of [404, 409]) {
    it(`are forgotten when the cloud controller answers ${status}`, async () => {
      await using controller = await SimulatedController.start();
      controller.status = status;
      await using reports = open(controller);
      await reports.send(report);
      await eventually('forgotten', () => reports.pending.length === 0);
    });
  }

  it('are given up after their time, and kept when the DEA goes first', async () => {
    await using controller = await SimulatedController.start();
    controller.status = 500;
    await using hasty = open(controller, [], 0.1);
    await hasty.send(report);
    await eventually('given up', () => hasty.pending.length === 0);
    const patient = open(controller);
    await patient.send(report);
    await patient[Symbol.asyncDispose]();
    assert.deepEqual(patient.pending, [report]);
  });
});

describe('the store', () => {
  it('keeps the id, and the last state saved', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-store-'));
    try {
      const id = await Store.id(folder);
      assert.equal(await Store.id(folder), id);
      assert.deepEqual(await Store.load(folder), { instances: [], reports: [] });
      const reports: PendingReport[] = [];
      await using store = new Store(folder, () => ({ instances: [], reports }));
      const saves = [1, 2, 3].map(async (n) => {
        reports.push({ kind: 'staging', guid: `build-${n}` });
        await store.save();
      });
      await Promise.all(saves);
      assert.deepEqual((await Store.load(folder)).reports, reports);
      assert.equal((await stat(join(folder, 'db/instances.json'))).mode & 0o777, 0o600);
      assert.match(await readFile(join(folder, 'db/instances.json'), 'utf8'), /build-3/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('says what failed, and saves again once it can', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-store-'));
    try {
      await writeFile(join(folder, 'db'), 'in the way');
      await using store = new Store(folder, () => ({ instances: [], reports: [] }));
      await store.save();
      assert.ok(store.failure instanceof Error);
      await rm(join(folder, 'db'));
      await store.save();
      assert.equal(store.failure, undefined);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
