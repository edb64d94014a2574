import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { StartMessage } from '#contracts/dea.ts';
import { eventually } from '#testing/eventually.ts';
import { dropletOf, WEB_APP } from './testing/sample-archives.ts';
import { sampleStart } from './testing/sample-messages.ts';
import { TestCell } from './testing/test-cell.ts';

describe(
  'an instance of several processes',
  { skip: process.getuid?.() === 0 ? false : 'containers need root' },
  () => {
    let cell: TestCell;
    let droplet: { uri: string; sha256: string };
    before(async () => {
      cell = await TestCell.start();
      droplet = cell.controller.serve('/droplet', await dropletOf({ 'app/app.py': WEB_APP }));
      await eventually('an advertisement', () => cell.heard.advertisements.length > 0);
    });
    after(async () => await cell[Symbol.asyncDispose]());

    const webStart = (change: Partial<StartMessage> = {}): StartMessage =>
      sampleStart({
        droplet: crypto.randomUUID(),
        start_command: 'python3 app.py',
        uris: ['shop.test'],
        droplet_uri: droplet.uri,
        droplet_sha256: droplet.sha256,
        ...change,
      });
    const exitOf = async (instance: string) =>
      await eventually('its end', () => cell.heard.exits.find((exit) => exit.instance === instance));

    it('runs sidecars beside the process, and ends with them', async () => {
      const start = webStart({ sidecars: [{ name: 'agent', command: 'echo agent up; sleep 1; exit 4' }] });
      assert.deepEqual(await cell.order(start), { accepted: true });
      const exit = await exitOf(start.instance);
      assert.equal(exit.exit_description, 'APP/PROC/WEB/SIDECAR/AGENT: Exited with status 4');
      await eventually('its words', () => cell.lines.includes('APP/PROC/WEB/SIDECAR/AGENT agent up'));
    });

    it('is over once, whichever and however many of its processes end', async () => {
      const sidecars = [4, 5, 6].map((status) => ({ name: `agent-${status}`, command: `sleep 0.3; exit ${status}` }));
      const start = webStart({ sidecars });
      assert.deepEqual(await cell.order(start), { accepted: true });
      assert.match((await exitOf(start.instance)).exit_description, /SIDECAR\/AGENT-[456]: Exited with status [456]$/);
      await eventually('containers gone', async () => (await cell.warden.client.list()).length === 0);
      assert.equal(cell.heard.exits.filter((exit) => exit.instance === start.instance).length, 1);
    });
  },
);
