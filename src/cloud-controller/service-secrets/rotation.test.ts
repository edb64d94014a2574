import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sql } from 'kysely';
import { systemClock } from '#kernel/clock.ts';
import { ConfigError } from '#kernel/config.ts';
import { silentLog } from '#kernel/log.ts';
import { freePort } from '#testing/free-port.ts';
import { start } from '../main.ts';
import { resealOld } from '../seed/sealed-variables-store.ts';
import { TestServices } from '../services-testing.ts';
import { readEncryptionKeys } from './keys.ts';
import { Vault } from './vault.ts';

const [FIRST, SECOND] = ['the first key, of 32 characters..', 'the second key, of 32 characters.'];

describe('keys of secrets', () => {
  let services: TestServices;
  let folder: string;
  let file: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingot-keys-'));
    file = join(folder, 'keys.yml');
    await writeKeys('first', { first: FIRST });
    services = await TestServices.start({ encryption_key: undefined, encryption_keys_file: file });
  });
  after(async () => {
    await services[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const writeKeys = async (current_key_label: string, keys: Record<string, string>): Promise<void> =>
    await writeFile(file, JSON.stringify({ current_key_label, keys }));

  it('come from a file by label, are rotated by a restart, and the one before may go', async () => {
    const { admin, cc, space_guid } = services.cc;
    const app = await services.cc.applyManifest({ applications: [{ name: 'a', env: { TOKEN: 'of-the-app' } }] });
    const made = await admin.post('/v3/service_instances', {
      type: 'user-provided',
      name: 'ups',
      credentials: { password: 'of-the-service' },
      relationships: { space: { data: { guid: space_guid } } },
    });
    const instance = made.string('guid');

    // Another cloud controller beside the first, as in a rolling restart: both read what either wrote.
    const restart = async () =>
      await start(
        { ...cc.config, internal: { ...cc.config.internal, port: await freePort() } },
        { log: silentLog, clock: systemClock },
      );
    await writeKeys('second', { first: FIRST, second: SECOND });
    await (await restart())[Symbol.asyncDispose]();
    const texts = await sealedTexts();
    assert.ok(texts.length >= 3, 'a broker, an instance, an app');
    const { currentKeyId } = new Vault({ encryption_key: SECOND });
    for (const text of texts) assert.equal(text.split('.')[1], currentKeyId);

    await writeKeys('second', { second: SECOND });
    await using running = await restart();
    const token = await cc.uaa.token({
      guid: admin.guid,
      username: 'admin',
      scopes: ['cloud_controller.admin', 'cloud_controller.read'],
    });
    const read = async (path: string): Promise<unknown> => {
      const url = `${running.addresses['external']}${path}`;
      return await (await fetch(url, { headers: { authorization: `bearer ${token}` } })).json();
    };
    assert.deepEqual(await read(`/v3/service_instances/${instance}/credentials`), { password: 'of-the-service' });
    const variables = (await read(`/v3/apps/${app}/environment_variables`)) as { var: object };
    assert.deepEqual(variables.var, { TOKEN: 'of-the-app' });
  });

  it('that are lost are said so, and keep nothing else from going on', async () => {
    const { config, database } = services.cc.cc;
    await writeKeys('third', { third: 'a third key that opens nothing..' });
    await using _running = await start(
      { ...config, internal: { ...config.internal, port: await freePort() } },
      { log: silentLog, clock: systemClock },
    );
    const lost = new Vault({ encryption_key: 'a third key that opens nothing..' });
    const { unreadable } = await resealOld(database.query, lost);
    assert.equal(unreadable, (await sealedTexts()).length);
  });

  it('are refused when the file is not as it should be', async () => {
    const read = () =>
      readEncryptionKeys({ encryption_key: undefined, encryption_keys_file: file, previous_encryption_keys: [] });
    await writeKeys('none', { first: FIRST });
    assert.throws(
      read,
      (error) => error instanceof ConfigError && /current_key_label: is none of keys/.test(error.message),
    );
    await writeKeys('first', { first: 'short' });
    assert.throws(read, ConfigError);
    const both = { encryption_key: FIRST, encryption_keys_file: file, previous_encryption_keys: [] };
    assert.throws(() => readEncryptionKeys(both), /one of them, not both/);
  });

  async function sealedTexts(): Promise<string[]> {
    const { rows } = await sql<{ text: string }>`
      select password_sealed as text from service_brokers
      union all select credentials_sealed from service_instances where credentials_sealed is not null
      union all select environment_variables #>> '{}' from apps where jsonb_typeof(environment_variables) = 'string'
      union all select started_as #>> '{environment_variables}' from processes
        where jsonb_typeof(started_as -> 'environment_variables') = 'string'`.execute(services.cc.cc.database.query);
    return rows.map(({ text }) => text);
  }
});
