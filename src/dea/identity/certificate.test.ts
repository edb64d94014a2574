import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { testAuthority } from '../testing/test-authority.ts';
import { type Authority, AuthorityUnfit, issue, readAuthority } from './certificate.ts';
import { integer, octets, partsOf, sequence, text } from './der.ts';

const identity = {
  instance: '0bd31a4c-8b71-4e65-9b7b-2c6d5fcd3c1e',
  app: 'app-guid',
  space: 'space-guid',
  organization: 'organization-guid',
  address: '10.254.3.130',
};

describe("an instance's certificate", () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-identity-'));
  let authority: Authority;
  let ca: string;
  before(() => {
    const files = testAuthority(folder);
    ca = files.ca_cert_file;
    authority = readAuthority(readFileSync(ca, 'utf8'), readFileSync(files.ca_key_file, 'utf8'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('says whose it is, for clients and servers, and is what others take for a certificate', async () => {
    const now_ms = Date.UTC(2040, 1, 29, 12);
    const { certificate, key } = await issue(authority, identity, { from_ms: now_ms, until_ms: now_ms + 3_600_000 });
    const read = new X509Certificate(certificate);
    assert.deepEqual(read.subject.split('\n'), [
      'OU=organization:organization-guid',
      'OU=space:space-guid',
      'OU=app:app-guid',
      `CN=${identity.instance}`,
    ]);
    assert.equal(read.subjectAltName, `DNS:${identity.instance}, IP Address:${identity.address}`);
    assert.deepEqual(read.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    assert.equal(read.ca, false);
    assert.deepEqual([read.validFrom, read.validTo], ['Feb 29 11:55:00 2040 GMT', 'Feb 29 13:00:00 2040 GMT']);
    assert.ok(read.checkPrivateKey(createPrivateKey(key)));
    assert.ok(read.verify(authority.certificate.publicKey) && read.checkIssued(authority.certificate));
    writeFileSync(join(folder, 'instance.crt'), certificate);
    const at = ['-attime', String(now_ms / 1000)];
    for (const purpose of ['sslserver', 'sslclient']) {
      const args = ['verify', '-x509_strict', '-CAfile', ca, '-purpose', purpose, ...at, join(folder, 'instance.crt')];
      assert.match(execFileSync('openssl', args, { encoding: 'utf8' }), /OK/);
    }
  });

  it('is signed by nobody who is no authority', async () => {
    const now_ms = Date.now();
    const { certificate, key } = await issue(authority, identity, { from_ms: now_ms, until_ms: now_ms + 1000 });
    assert.throws(() => readAuthority(certificate, key), AuthorityUnfit);
    assert.throws(() => readAuthority(readFileSync(ca, 'utf8'), key), AuthorityUnfit);
    assert.throws(() => readAuthority('', ''), AuthorityUnfit);
  });
});

describe('distinguished encoding', () => {
  it('gives back what it was given, of any length', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 70_000 }), { maxLength: 5 }), (values) => {
        const parts = values.map((value) => octets(Buffer.from(value)));
        assert.deepEqual(partsOf(sequence(...parts)), parts);
      }),
      { numRuns: 50 },
    );
    assert.deepEqual(partsOf(sequence(text('a'), integer(Buffer.from([0x80])))), [
      text('a'),
      Buffer.from('02020080', 'hex'),
    ]);
  });
});
