import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import {
  whyWithoutDebian,
  whyWithoutGoProxy,
  whyWithoutMavenCentral,
  whyWithoutRubyGems,
} from '#testing/registries.ts';
import { TestPlatform } from './platform.ts';

const withoutDebian = await whyWithoutDebian();

const cases: { name: string; skip: string | false; memory: string; says: RegExp }[] = [
  { name: 'go', skip: await whyWithoutGoProxy(), memory: '64M', says: /"go":"go1\.25\./ },
  { name: 'php', skip: withoutDebian, memory: '128M', says: /"php":"8\.2\..*"greeting":"hello from PHP"/ },
  { name: 'java', skip: withoutDebian || (await whyWithoutMavenCentral()), memory: '384M', says: /"java":"17\./ },
  { name: 'ruby', skip: withoutDebian || (await whyWithoutRubyGems()), memory: '128M', says: /"ruby":"3\.1\./ },
];

describe('samples with packages of their registries, pushed without naming a buildpack', () => {
  let platform: TestPlatform;
  before(async () => {
    platform = await TestPlatform.start();
  });
  after(() => platform[Symbol.asyncDispose]());

  for (const { name, skip, memory, says } of cases) {
    it(`samples/${name}`, { skip }, async () => {
      const folder = await platform.sample(name);
      const app = `language-${name}`;
      try {
        await platform.mustCf(['push', app, '--no-manifest', '-m', memory, '-k', '1G'], { cwd: folder });
        assert.match((await platform.get(app)).body, says);
        assert.match(await platform.mustCf(['app', app]), new RegExp(`${name}_buildpack`));
      } finally {
        await platform.cf(['delete', app, '-f', '-r']);
        await rm(folder, { recursive: true });
      }
    });
  }
});
