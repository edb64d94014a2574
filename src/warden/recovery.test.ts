import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import type { SpawnRequest } from '#contracts/warden.ts';
import { eventually } from '#testing/eventually.ts';
import { TestWarden } from '#testing/warden.ts';
import { systemClock } from '#kernel/clock.ts';
import { removeWarden } from './remove.ts';
import { killStorm } from './testing/kill-storm.ts';
import { cgroupsOf, commandOf } from './testing/remains.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 64 * MB, disk_in_bytes: 32 * MB };
const ROUNDS = 6;
const sh = (script: string): SpawnRequest => ({ args: ['/bin/sh', '-c', script] });

test('a warden that is removed leaves nothing on the machine, containers that run or not', async () => {
  await using warden = await TestWarden.start();
  const { handle } = await warden.client.create({ stack: 'test', limits: LIMITS });
  await warden.client.spawn(handle, sh('sleep 1000'));
  const { name, depot } = warden;
  await assert.rejects(removeWarden({ name, depot }, systemClock), { code: 'depot_taken' });
  await warden.kill();
  await removeWarden({ name, depot }, systemClock);
  assert.equal(existsSync(depot), false);
  assert.equal(existsSync(`/run/ingot-warden/${name}`), false);
  assert.deepEqual(cgroupsOf(name), []);
  assert.doesNotMatch(execFileSync('nft', ['list', 'tables']).toString(), new RegExp(name));
  await eventually('no disk is in use, no process is left', () => {
    const devices = execFileSync('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE']).toString();
    const running = readdirSync('/proc').filter((entry) => commandOf(entry).includes(`ingot-warden/${name}/`));
    return !devices.includes(depot) && running.length === 0;
  });
});

test('a warden that is killed again and again keeps what it promised, and in the end leaves nothing behind', async () => {
  await using warden = await TestWarden.start();
  const { kills, made } = await killStorm(warden, (count) => count === ROUNDS);
  assert.equal(kills, ROUNDS);
  assert.ok(made >= ROUNDS, `${made} containers were made`);
});
