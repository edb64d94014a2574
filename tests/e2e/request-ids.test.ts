import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform } from './platform.ts';

const APP = 'followed';

interface Line {
  component: string;
  msg: string;
  request_id?: string;
  [fact: string]: unknown;
}

describe('a request id', () => {
  let platform: TestPlatform;
  let folder: string | undefined;
  before(async () => {
    platform = await TestPlatform.start();
    folder = await platform.sample('static');
    await platform.mustCf(['push', APP, '-m', '64M'], { cwd: folder });
  });
  after(async () => {
    await platform.cf(['delete', APP, '-f', '-r']);
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  /** All lines of all components that have this in them. */
  const lines = (text: string): Line[] =>
    readdirSync(join(platform.home, 'logs'))
      .filter((name) => name.endsWith('.log'))
      // The last of them may be half written.
      .flatMap((name) =>
        readFileSync(join(platform.home, 'logs', name), 'utf8')
          .split('\n')
          .slice(0, -1),
      )
      .filter((line) => line.startsWith('{') && line.includes(text))
      .map((line) => JSON.parse(line) as Line);
  /** What the answer says: the router's id, and behind it the cloud controller's. */
  const idOf = (headers: Record<string, string | string[] | undefined>): string =>
    String(headers['x-vcap-request-id']).split('::')[0] ?? '';

  it('is in every line that the request causes, from the cloud controller to the DEA and warden', async () => {
    const guid = (await platform.mustCf(['app', APP, '--guid'])).trim();
    const answer = await platform.api(`/v3/apps/${guid}/actions/restart`, { method: 'POST', json: {} });
    assert.equal(answer.status, 200, answer.body);
    const id = idOf(answer.headers);
    assert.match(id, /^[\w-]{36}$/);
    const instance = await eventually('ordered', () => {
      const ordered = lines(id).find(({ component, msg }) => component === 'dea' && msg === 'instance ordered');
      return typeof ordered?.['instance'] === 'string' && ordered['instance'];
    });
    const caused = (): string[] => lines(id).map(({ component, msg }) => `${component}: ${msg}`);
    assert.ok(caused().includes('cloud-controller: instance ordered'), caused().join('\n'));
    await eventually('its container', () => caused().includes('warden: container created'));
    // Its whole life long, what anybody logs of the instance leads back to a request: that which asked for it, or that which ended it.
    await platform.mustCf(['stop', APP]);
    await eventually('gone', () => lines(instance).some(({ msg }) => msg === 'instance exited'));
    const all = lines(instance);
    assert.ok(all.length >= 3, JSON.stringify(all));
    for (const line of all) assert.match(line.request_id ?? 'none', /^[\w-]{36}::/, `${line.component}: ${line.msg}`);
  });

  it('is kept with a job, and is in what its worker says', async () => {
    const name = `unmade-${process.pid}`;
    // A broker that is not there: the job fails, which is a line in the log.
    const answer = await platform.api('/v3/service_brokers', {
      method: 'POST',
      json: {
        name,
        url: 'http://127.0.0.1:1',
        authentication: { type: 'basic', credentials: { username: 'u', password: 'p' } },
      },
    });
    assert.equal(answer.status, 202, answer.body);
    const job = String(answer.headers['location']).split('/').at(-1) ?? '';
    const failed = await eventually('the job failed', () => lines(job).find(({ msg }) => msg === 'job failed'));
    assert.ok(failed.request_id?.startsWith(idOf(answer.headers)), JSON.stringify(failed));
  });

  it('or an id of our own work, is in every line that any component wrote', () => {
    const all = lines('"component"');
    const components = new Set(all.map(({ component }) => component));
    for (const name of ['cloud-controller', 'router', 'dea', 'warden', 'uaa', 'loggregator', 'collector'])
      assert.ok(components.has(name), `${name} is not among ${[...components].join(', ')}`);
    const lost = all.filter(({ request_id }) => !/^[\w:-]{36,}$/.test(request_id ?? ''));
    assert.deepEqual(lost, []);
  });
});
