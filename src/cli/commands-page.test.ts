import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { holdPage } from '#testing/hold-page.ts';
import { CfClient } from './client.ts';
import { type CommandRow, commandRows, commandsPage } from './commands-page.ts';
import { LEFT_OUT } from './left-out.ts';
import { createProgram } from './program.ts';
import { Session } from './session.ts';
import { Terminal } from './terminal.ts';

const E2E = resolve(import.meta.dirname, '../../tests/e2e');

describe('the page about cf', () => {
  it('tells of every command whether it is there, and which test runs it', async (t) => {
    const session = Session.load({ CF_HOME: '/nonexistent' });
    const client = new CfClient({ session, onWarning: () => {} });
    t.after(async () => await client.close());
    const program = createProgram({ session, terminal: new Terminal(), client });
    const names = readdirSync(E2E).filter((name) => name.endsWith('.test.ts'));
    const tests = new Map(
      names.sort().map((name) => [basename(name, '.test.ts'), readFileSync(resolve(E2E, name), 'utf8')]),
    );
    const registered = new Map(program.commands.map((command) => [command.name(), command.aliases()]));
    const rows = commandRows(registered, tests);
    const of = (state: CommandRow['state']): string[] =>
      rows.filter((row) => row.state === state).map((row) => row.name);
    assert.deepEqual(of('missing'), [], 'add it, or say why not in left-out.ts');
    assert.deepEqual(
      Object.keys(LEFT_OUT).filter((name) => registered.has(name)),
      [],
      'works now: take it out of left-out.ts',
    );
    assert.ok(of('works').length > 90);
    holdPage(t, 'cf-commands.md', commandsPage(rows));
  });
});
