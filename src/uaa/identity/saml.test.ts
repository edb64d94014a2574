import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { inflateRawSync } from 'node:zlib';
import { SignedXml } from 'xml-crypto';
import { TestUaa, type Answer } from '../testing.ts';

const execute = promisify(execFile);
const ENTRY = 'https://idp.example/sso';

/** A SAML provider's hand: makes the answer to a request and signs its assertion. */
class TestIdp {
  readonly certificate: string;
  readonly #key: string;

  private constructor(key: string, certificate: string) {
    this.#key = key;
    this.certificate = certificate;
  }

  static async make(): Promise<TestIdp> {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-idp-'));
    try {
      const [key, certificate] = [join(folder, 'key'), join(folder, 'cert')];
      const subject = ['-subj', '/CN=idp.example', '-days', '2', '-keyout', key, '-out', certificate];
      await execute('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject]);
      return new TestIdp(await readFile(key, 'utf8'), await readFile(certificate, 'utf8'));
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  assertion(of: { request_id: string; acs: string; audience?: string; name?: string; expired?: boolean }): string {
    const at = (seconds: number): string => new Date(Date.now() + seconds * 1000).toISOString();
    const end = at(of.expired === true ? -120 : 300);
    const attribute = (name: string, value: string): string =>
      `<saml:Attribute Name="${name}"><saml:AttributeValue>${value}</saml:AttributeValue></saml:Attribute>`;
    return `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_${randomUUID()}" Version="2.0" IssueInstant="${at(-1)}"><saml:Issuer>https://idp.example</saml:Issuer><saml:Subject><saml:NameID>${of.name ?? 'ann@corp.example'}</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="${end}" Recipient="${of.acs}" InResponseTo="${of.request_id}"/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="${at(-60)}" NotOnOrAfter="${end}"><saml:AudienceRestriction><saml:Audience>${of.audience ?? 'login.test.example'}</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="${at(-1)}"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement>${attribute('email', 'ann@mail.example')}${attribute('groups', 'ops')}</saml:AttributeStatement></saml:Assertion>`;
  }

  response(assertion: string, request_id: string, acs: string): string {
    return `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_${randomUUID()}" Version="2.0" IssueInstant="${new Date().toISOString()}" Destination="${acs}" InResponseTo="${request_id}"><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">https://idp.example</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>${assertion}</samlp:Response>`;
  }

  sign(xml: string): string {
    const signature = new SignedXml({
      privateKey: this.#key,
      signatureAlgorithm: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
      canonicalizationAlgorithm: 'http://www.w3.org/2001/10/xml-exc-c14n#',
    });
    signature.addReference({
      xpath: "//*[local-name(.)='Assertion']",
      digestAlgorithm: 'http://www.w3.org/2001/04/xmlenc#sha256',
      transforms: ['http://www.w3.org/2000/09/xmldsig#enveloped-signature', 'http://www.w3.org/2001/10/xml-exc-c14n#'],
    });
    const reference = "//*[local-name(.)='Assertion']/*[local-name(.)='Issuer']";
    signature.computeSignature(xml, { location: { reference, action: 'after' } });
    return signature.getSignedXml();
  }
}

describe('people of a SAML provider', () => {
  let uaa: TestUaa;
  let idp: TestIdp;
  const acs = 'http://login.test.example/saml/SSO/alias/corp';
  before(async () => {
    idp = await TestIdp.make();
    const corp = {
      kind: 'saml',
      label: 'Corp',
      entry_point: ENTRY,
      certificate: idp.certificate,
      groups: { ops: ['cloud_controller.admin'] },
    };
    uaa = await TestUaa.start({ identity_providers: { corp } });
  });
  after(async () => await uaa?.[Symbol.asyncDispose]());

  /** Leaves for the provider: what it is asked, and the cookie of the browser. */
  async function depart(): Promise<{ request_id: string; relay: string; cookie: string }> {
    const answer = await uaa.request('/login/saml/corp', { headers: { accept: 'text/html' } });
    assert.equal(answer.status, 302, answer.text);
    const location = new URL(answer.headers.get('location') ?? '');
    assert.equal(`${location.origin}${location.pathname}`, ENTRY);
    const request = inflateRawSync(Buffer.from(location.searchParams.get('SAMLRequest') ?? '', 'base64')).toString();
    const request_id = / ID="([^"]+)"/.exec(request)?.[1] ?? '';
    const cookie = answer.headers
      .getSetCookie()
      .map((set) => set.split(';')[0])
      .join('; ');
    return { request_id, relay: location.searchParams.get('RelayState') ?? '', cookie };
  }

  const post = async (xml: string, relay: string): Promise<Answer> =>
    await uaa.request('/saml/SSO/alias/corp', {
      method: 'POST',
      headers: { accept: 'text/html' },
      body: new URLSearchParams({ SAMLResponse: Buffer.from(xml).toString('base64'), RelayState: relay }),
    });
  const follow = async (answer: Answer, cookie: string): Promise<Answer> =>
    await uaa.request(answer.headers.get('location') ?? '/none', { headers: { accept: 'text/html', cookie } });

  it('sign in there and are users here, with the scopes of their groups', async () => {
    const { request_id, relay, cookie } = await depart();
    const signed = idp.sign(idp.response(idp.assertion({ request_id, acs }), request_id, acs));
    const answer = await post(signed, relay);
    assert.equal(answer.status, 302, answer.text);
    const arrived = await follow(answer, cookie);
    assert.equal(arrived.headers.get('location'), '/', arrived.text);
    const filter = new URLSearchParams({ filter: 'origin eq "corp"' }).toString();
    const token = await uaa.machineToken();
    const { resources } = (await uaa.request(`/Users?${filter}`, { token })).json<{
      resources: { userName: string; emails: { value: string }[]; groups: { display: string }[] }[];
    }>();
    assert.deepEqual(
      [resources[0]?.userName, resources[0]?.emails[0]?.value],
      ['ann@corp.example', 'ann@mail.example'],
    );
    assert.ok(resources[0]?.groups.some((group) => group.display === 'cloud_controller.admin'));
    assert.equal((await post(signed, relay)).status, 400);
    assert.equal((await post(signed, (await depart()).relay)).status, 400);
  });

  it('are tied to the browser that left', async () => {
    const { request_id, relay } = await depart();
    const other = await depart();
    const answer = await post(idp.sign(idp.response(idp.assertion({ request_id, acs }), request_id, acs)), relay);
    assert.equal((await follow(answer, other.cookie)).status, 400);
  });

  const forged: [string, (request_id: string) => string | Promise<string>][] = [
    ['without a signature', (id) => idp.response(idp.assertion({ request_id: id, acs }), id, acs)],
    [
      'by another key',
      async (id) => (await TestIdp.make()).sign(idp.response(idp.assertion({ request_id: id, acs }), id, acs)),
    ],
    [
      'changed afterwards',
      (id) =>
        idp.sign(idp.response(idp.assertion({ request_id: id, acs }), id, acs)).replaceAll('ann@corp.example', 'admin'),
    ],
    [
      'for another service',
      (id) => idp.sign(idp.response(idp.assertion({ request_id: id, acs, audience: 'other' }), id, acs)),
    ],
    ['too old', (id) => idp.sign(idp.response(idp.assertion({ request_id: id, acs, expired: true }), id, acs))],
    [
      'that answers nothing we asked',
      () => idp.sign(idp.response(idp.assertion({ request_id: '_made-up', acs }), '_made-up', acs)),
    ],
    [
      'wrapped around another one',
      (id) => {
        const evil = idp.assertion({ request_id: id, acs, name: 'root@corp.example' });
        return idp
          .sign(idp.response(idp.assertion({ request_id: id, acs }), id, acs))
          .replace('<saml:Assertion', `${evil}<saml:Assertion`);
      },
    ],
    ['that is no XML', () => 'x'],
  ];
  for (const [what, make] of forged) {
    it(`are refused by an answer ${what}`, async () => {
      const { request_id, relay } = await depart();
      const answer = await post(await make(request_id), relay);
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.headers.get('location'), null);
    });
  }

  it('are announced to the provider by metadata', async () => {
    const answer = await uaa.request('/saml/metadata/corp');
    assert.match(answer.text, /entityID="login\.test\.example"/);
    assert.ok(answer.text.includes(acs));
  });
});
