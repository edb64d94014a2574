import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { WardenError } from '#http/warden-client.ts';
import { TestWarden } from '#testing/warden.ts';
import { destroyContainer, listContainers, runInContainer, showContainer } from './cli.ts';

const MB = 1024 * 1024;

async function written(work: (out: PassThrough) => Promise<unknown>): Promise<string> {
  const out = new PassThrough();
  const [all] = await Promise.all([text(out), work(out).finally(() => out.end())]);
  return all;
}

describe('ingot warden', () => {
  let warden: TestWarden;
  before(async () => {
    warden = await TestWarden.start();
  });
  after(async () => {
    await warden[Symbol.asyncDispose]();
  });

  test('lists, shows, runs in, enters and destroys containers', async () => {
    const { client } = warden;
    const limits = { memory_in_bytes: 64 * MB, disk_in_bytes: 32 * MB };
    const { handle, container_ip } = await client.create({ handle: 'one', stack: 'test', limits });
    const listed = await written((out) => listContainers(client, out));
    assert.match(listed, new RegExp(`one\tactive\t${container_ip}\t-\t\\d+/64M\t\\d+/32M\t0\n`));
    assert.match(await written((out) => showContainer(client, handle, out)), /"handle": "one"/);
    let status = 0;
    const said = await written(async (out) => {
      const run = { handle, args: ['/bin/sh', '-c', 'id -un; exit 4'], user: 'root' as const };
      status = await runInContainer(client, run, { stdout: out, stderr: out });
    });
    assert.deepEqual([said, status], ['root\n', 4]);
    // A terminal of its own, as an operator has one.
    const enter = `import { enterContainer } from ${JSON.stringify(new URL('cli.ts', import.meta.url).href)};
      process.exitCode = await enterContainer(${JSON.stringify({ name: warden.name, depot: warden.depot })}, { handle: 'one', user: 'vcap' });`;
    const script = [
      'script',
      '--quiet',
      '--return',
      '--command',
      '"$NODE" --input-type=module-typescript -e "$ENTER"',
      '/dev/null',
    ];
    const [command = '', ...args] = script;
    const shell = promisify(execFile)(command, args, {
      env: { NODE: process.execPath, ENTER: enter, PATH: '/usr/bin:/bin:/usr/sbin' },
    });
    shell.child.stdin?.write('tty; id -un; grep NoNewPrivs /proc/self/status; exit\n');
    const { stdout } = await shell;
    assert.match(stdout, /\/dev\/pts\/0[^]*vcap[^]*NoNewPrivs:\t1/);
    await destroyContainer(client, handle);
    await assert.rejects(destroyContainer(client, handle), (error) => error instanceof WardenError);
  });
});
