import { strict as assert } from 'node:assert';
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { WardenError, WardenUnreachable } from '#http/warden-client.ts';
import { eventually } from '#testing/eventually.ts';
import type { TestWarden } from '#testing/warden.ts';
import { NOTHING, remainsOf } from './remains.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 64 * MB, disk_in_bytes: 32 * MB };

/**
 * Kills a warden's daemon at random moments, again and again, while containers are made, used and destroyed; holds it to all that it
 * promised, and counts what is left of it once all is destroyed. `isOver` is asked before each kill.
 */
export async function killStorm(
  warden: TestWarden,
  isOver: (kills: number) => boolean,
): Promise<{ kills: number; made: number }> {
  const promised = new Map<string, { job_id?: string; marker: string }>();
  const destroyed = new Set<string>();
  const over = new AbortController();
  let made = 0;

  /** A call that finds no daemon is left where it is. */
  const worker = async (id: number): Promise<void> => {
    for (let n = 0; !over.signal.aborted; n++) {
      const handle = `c${id}-${n}`;
      const marker = `${handle}-${randomInt(1e6)}`;
      try {
        const is_background = n % 3 === 0;
        const net_in = [{ container_port: 80 }];
        await warden.client.create({ handle, stack: 'test', limits: LIMITS, net_in, is_background });
        made++;
        promised.set(handle, { marker });
        await warden.client.setNetwork(flowsOf(handle));
        const job_id = await warden.client.spawn(handle, {
          args: ['/bin/sh', '-c', `echo ${marker}; sleep 0.2; exit 7`],
        });
        promised.set(handle, { marker, job_id });
        // A pool of ports has fifty: beyond forty that stay, each one is destroyed again.
        if (n % 2 === 0 && promised.size < 40) continue;
        destroyed.add(handle);
        await warden.client.destroy(handle);
        promised.delete(handle);
      } catch (error) {
        // A daemon killed in the middle has made no promise.
        const isTaken = error instanceof WardenError && error.code === 'handle_taken';
        if (!(error instanceof WardenUnreachable) && !isTaken) throw error;
        await sleep(20);
      }
    }
  };
  const work = Promise.all([worker(0), worker(1)]);
  work.catch(() => over.abort());
  let kills = 0;
  for (; !over.signal.aborted && !isOver(kills); kills++) {
    // Every other daemon lives for as long as it takes to get something done, however busy the machine.
    const before = made;
    if (kills % 2 === 0) await eventually('containers are made', () => over.signal.aborted || made >= before + 2, 120);
    await sleep(randomInt(20, 400));
    await warden.kill();
    await warden.resume();
  }
  over.abort();
  await work;

  const present = new Set((await warden.client.list()).map(({ handle }) => handle));
  for (const [handle, { job_id, marker }] of promised) {
    if (destroyed.has(handle)) continue;
    assert.ok(present.has(handle), `${handle} is still there`);
    assert.equal((await warden.client.info(handle)).state, 'active');
    if (job_id === undefined) continue; // the daemon died between the two calls
    const { exit_status } = await warden.client.link(handle, job_id);
    assert.equal(exit_status, 7, `exit status of ${handle}`);
    const lines = await Array.fromAsync(warden.client.stream(handle, job_id));
    assert.equal(
      'data' in (lines[0] ?? {}) && Buffer.from((lines[0] as { data: string }).data, 'base64').toString(),
      marker,
    );
  }
  await Promise.all([...present].map(async (handle) => await warden.client.destroy(handle)));
  await eventually('nothing is left', () => {
    assert.deepEqual(remainsOf(warden), NOTHING);
    return true;
  });
  return { kills, made };
}

function flowsOf(handle: string) {
  const flow = { handle, direction: 'to' as const, peer: '10.9.9.9', protocol: 'tcp' as const };
  return { owner: 'storm', internal_routes: {}, flows: [{ ...flow, first_port: 80, last_port: 80 }], networks: [] };
}
