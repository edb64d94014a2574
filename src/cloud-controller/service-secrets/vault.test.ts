import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CfError } from '#contracts/cf-errors.ts';
import { SecretUnreadable, Vault } from './vault.ts';

describe('the vault', () => {
  const vault = new Vault({ encryption_key: 'a key of thirty-two characters..' });

  it('opens what it sealed, for its owner alone, and never seals alike', () => {
    const sealed = vault.seal({ password: 'geheim' }, 'binding-1');
    assert.deepEqual(vault.open(sealed, 'binding-1'), { password: 'geheim' });
    assert.throws(() => vault.open(sealed, 'binding-2'), SecretUnreadable);
    assert.doesNotMatch(sealed, /geheim/);
    assert.notEqual(vault.seal({ password: 'geheim' }, 'binding-1'), sealed);
  });

  it('opens nothing that was changed', () => {
    const parts = vault.seal({ a: 1 }, 'x').split('.');
    for (const at of [0, 1, 2, 3, 4]) {
      const changed = parts.map((part, index) => (index === at ? `A${part.slice(1)}B` : part)).join('.');
      assert.throws(() => vault.open(changed, 'x'), SecretUnreadable, `part ${at}`);
    }
  });

  it('opens what an earlier key sealed, and seals with the new one', () => {
    const next = new Vault({
      encryption_key: 'another key of thirty-two chars.',
      previous_encryption_keys: ['a key of thirty-two characters..'],
    });
    const old = vault.seal({ a: 1 }, 'x');
    assert.deepEqual(next.open(old, 'x'), { a: 1 });
    assert.equal(next.isOld(old), true);
    assert.equal(next.isOld(next.seal({ a: 1 }, 'x')), false);
    assert.throws(() => vault.open(next.seal({ a: 1 }, 'x'), 'x'), SecretUnreadable);
  });

  it('says that the configuration has no key', () => {
    const none = new Vault({});
    assert.throws(
      () => none.requireKey(),
      (error) => error instanceof CfError && /encryption_key/.test(error.message),
    );
  });
});
