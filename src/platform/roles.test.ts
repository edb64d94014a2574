import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseConfig } from '#kernel/config.ts';
import { projectRoot } from './home.ts';
import { ROLES, type RoleName } from './roles.ts';

describe('the commented example', () => {
  const names = Object.keys(ROLES) as RoleName[];

  it('is there for every role', () => assert.ok(names.length >= 8));

  for (const name of names) {
    it(`of ${name} is what ${name} takes`, async () => {
      const file = join(projectRoot, 'config', `${name}.example.yml`);
      const text = readFileSync(file, 'utf8');
      assert.match(text, /#/, 'it explains itself');
      parseConfig((await ROLES[name]()).schema, text, file);
    });
  }
});
