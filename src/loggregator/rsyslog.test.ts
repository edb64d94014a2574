import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { certificate, drainsOf, target } from './drains-testing.ts';
import { line, web } from './testing.ts';

const hasRsyslog = spawnSync('rsyslogd', ['-v']).status === 0;

describe('a real rsyslog', { skip: hasRsyslog ? false : 'rsyslogd is not installed' }, () => {
  for (const way of ['syslog', 'syslog-tls'] as const) {
    it(`understands what is drained to it by ${way}`, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'ingot-rsyslog-'));
      const port = await freePort();
      const at = (name: string): string => join(folder, name);
      const { cert, key } = await certificate();
      await Promise.all([writeFile(at('cert'), cert), writeFile(at('key'), key)]);
      const tls = `global(defaultNetstreamDriverCAFile="${at('cert')}" defaultNetstreamDriverCertFile="${at('cert')}" defaultNetstreamDriverKeyFile="${at('key')}")`;
      await writeFile(
        at('conf'),
        `global(workDirectory="${folder}" maxMessageSize="128k" parser.escapeControlCharactersOnReceive="off")
       ${way === 'syslog-tls' ? tls : ''}
       module(load="imtcp"${way === 'syslog-tls' ? ' streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon"' : ''})
       input(type="imtcp" address="127.0.0.1" port="${port}")
       template(name="facts" type="string" string="%pri%|%protocol-version%|%hostname%|%app-name%|%procid%|%structured-data%|%timestamp:::date-rfc3339%|%msg%\\n")
       action(type="omfile" file="${at('out')}" template="facts")\n`,
      );
      const child: ChildProcess = spawn('rsyslogd', ['-n', '-f', at('conf'), '-i', at('pid')], { stdio: 'ignore' });
      try {
        await eventually('rsyslog listens', async () => await accepts(port));
        await using test = await drainsOf([target(`${way}://localhost:${port}`, { ca: cert })]);
        const long = 'é'.repeat(30_720);
        test.drains.deliver('app', [
          line(1_700_000_000_123_456_789n, 'hello "world"'),
          { ...line(1_700_000_001_000_000_000n, 'an error'), kind: 'ERR' },
          line(1_700_000_002_000_000_000n, long),
          line(1_700_000_003_000_000_000n, 'two ] = \\', {
            instance_id: '1',
            tags: { source_type: 'RTR', odd: 'a"b]c\\' },
          }),
        ]);
        const lines = await eventually('all written', async () => {
          const all = (await readFile(at('out'), 'utf8').catch(() => ''))
            .split('\n')
            .filter((text) => text.includes('org.space.app'));
          return all.length === 4 && all;
        });
        const tags = Object.keys(web.tags)
          .sort()
          .map((name) => `${name}="${web.tags[name]}"`);
        assert.deepEqual(lines, [
          `14|1|org.space.app|app|[APP/PROC/WEB/0]|[tags@47450 ${tags.join(' ')}]|2023-11-14T22:13:20.123456+00:00|hello "world"`,
          `11|1|org.space.app|app|[APP/PROC/WEB/0]|[tags@47450 ${tags.join(' ')}]|2023-11-14T22:13:21.000000+00:00|an error`,
          `14|1|org.space.app|app|[APP/PROC/WEB/0]|[tags@47450 ${tags.join(' ')}]|2023-11-14T22:13:22.000000+00:00|${long}`,
          `14|1|org.space.app|app|[RTR/1]|[tags@47450 odd="a\\"b\\]c\\\\" source_type="RTR"]|2023-11-14T22:13:23.000000+00:00|two ] = \\`,
        ]);
      } finally {
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        await ended;
        await rm(folder, { recursive: true, force: true });
      }
    });
  }
});

async function accepts(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
