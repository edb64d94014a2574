import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '#kernel/log.ts';
import { Home } from './home.ts';
import { listProcesses } from './process-record.ts';
import { Supervisor } from './supervisor.ts';

test('a process that steps back for others does so as the session that it leads, where the kernel weighs sessions', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-supervisor-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const home = new Home(folder);
  home.prepare();
  const supervisor = new Supervisor(home, silentLog);
  t.after(async () => await supervisor.stopAll());
  const sleeper = { command: '/bin/sleep', args: ['1000'], stop_signal: 'SIGTERM', isReady: async () => true } as const;
  await supervisor.start({ ...sleeper, name: 'modest', nice: 19 });
  await supervisor.start({ ...sleeper, name: 'plain' });
  const facts = (name: string) => {
    const pid = listProcesses(home).find((record) => record.name === name)?.pid ?? 0;
    const session = `/proc/${pid}/autogroup`;
    return [getPriority(pid), existsSync(session) ? /nice (-?\d+)/.exec(readFileSync(session, 'utf8'))?.[1] : 'none'];
  };
  const session = (nice: string) => (existsSync('/proc/self/autogroup') ? nice : 'none');
  assert.deepEqual(facts('modest'), [19, session('19')]);
  assert.deepEqual(facts('plain'), [getPriority(), session('0')]);
});
