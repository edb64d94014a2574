import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { TestUaa } from './testing.ts';

const ENDPOINTS: readonly [string, string][] = [
  ['POST', '/oauth/token'],
  ['POST', '/check_token'],
  ['POST', '/introspect'],
  ['POST', '/oauth/revoke'],
  ['GET', '/oauth/authorize'],
  ['POST', '/oauth/authorize?client_id=cf'],
  ['DELETE', '/oauth/token/revoke/x'],
  ['DELETE', '/oauth/token/revoke/user/x'],
  ['DELETE', '/oauth/token/revoke/client/x'],
  ['GET', '/userinfo'],
  ['GET', '/Users/x'],
  ['POST', '/Users'],
  ['PUT', '/Users/x'],
  ['PATCH', '/Users/x'],
  ['DELETE', '/Users/x'],
  ['PUT', '/Users/x/password'],
  ['GET', '/ids/Users'],
  ['GET', '/Groups/x'],
  ['POST', '/Groups'],
  ['PUT', '/Groups/x'],
  ['PATCH', '/Groups/x'],
  ['DELETE', '/Groups/x'],
  ['POST', '/Groups/x/members'],
  ['DELETE', '/Groups/x/members/y'],
  ['POST', '/oauth/clients'],
  ['PUT', '/oauth/clients/x'],
  ['PUT', '/oauth/clients/x/secret'],
  ['DELETE', '/oauth/clients/x'],
  ['POST', '/oauth/clients/tx/modify'],
  ['PUT', '/approvals'],
  ['DELETE', '/approvals'],
  ['POST', '/login.do'],
  ['POST', '/change_password'],
  ['POST', '/reset_password'],
  ['POST', '/forgot_password'],
  ['POST', '/account/approvals'],
  ['GET', '/none'],
];

const BODIES: readonly [string, string | undefined, string | undefined][] = [
  ['no body', undefined, undefined],
  ['broken JSON', 'application/json', '{"a":'],
  ['a JSON array', 'application/json', '[1]'],
  ['a JSON null', 'application/json', 'null'],
  [
    'wrong types',
    'application/json',
    '{"userName":7,"emails":"x","displayName":{},"members":[[]],"client_id":[],"secret":{},"password":1,"scope":{"a":1}}',
  ],
  [
    'null characters',
    'application/json',
    '{"userName":"a\\u0000","displayName":"a\\u0000","client_id":"a\\u0000","value":"\\u0000","password":"\\u0000","emails":[{"value":"\\u0000"}]}',
  ],
  ['a prototype', 'application/json', '{"__proto__":{"x":1},"constructor":{}}'],
  ['another content type', 'application/xml', '<a/>'],
  ['broken escapes', 'application/x-www-form-urlencoded', 'a=%zz&%=%'],
  [
    'null characters in a form',
    'application/x-www-form-urlencoded',
    'grant_type=password&username=%00&password=%00&token=%00&client_id=%00',
  ],
  ['too much', 'application/json', JSON.stringify({ userName: 'x'.repeat(2_000_000) })],
];

describe('bad input', () => {
  let uaa: TestUaa;
  let token: string;
  before(async () => {
    uaa = await TestUaa.start();
    token = await uaa.machineToken();
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  for (const [method, path] of ENDPOINTS) {
    it(`to ${method} ${path} is refused in UAA's form`, async () => {
      for (const [what, type, body] of BODIES) {
        if (method === 'GET' && body !== undefined) continue;
        for (const by of [token, undefined]) {
          const answer = await uaa.request(path, {
            method,
            headers: type === undefined ? {} : { 'content-type': type },
            ...(body !== undefined && { body }),
            ...(by !== undefined && { token: by }),
          });
          assert.ok(answer.status < 500, `${what}: ${answer.status} ${answer.text}`);
          const isPage = answer.headers.get('content-type')?.startsWith('text/html') === true || answer.status === 302;
          if (isPage || answer.status < 400) continue;
          const { error, error_description } = answer.json<{ error: string; error_description: string }>();
          assert.match(error, /^[a-z_]+$/, what);
          assert.equal(typeof error_description, 'string');
        }
      }
    });
  }

  it('of any text as a filter, a header or a parameter is never our fault', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 60, unit: 'grapheme' }), async (text) => {
        const query = new URLSearchParams({ filter: text, sortBy: text, count: text }).toString();
        const answers = await Promise.all([
          uaa.request(`/Users?${query}`, { token }),
          uaa.request(`/Users?${new URLSearchParams({ filter: `userName eq ${JSON.stringify(text)}` }).toString()}`, {
            token,
          }),
          uaa.request(`/Users/${encodeURIComponent(text)}`, { token }),
          uaa.request(
            `/oauth/authorize?${new URLSearchParams({ client_id: 'cf', state: text, scope: text }).toString()}`,
          ),
          uaa.grant({ grant_type: text, client_id: text }),
          uaa.grant({ grant_type: 'client_credentials' }, { user: text, password: text }),
          uaa.request('/userinfo', { headers: { authorization: `Basic ${Buffer.from(text).toString('base64')}` } }),
        ]);
        for (const answer of answers) assert.ok(answer.status < 500, `${text}: ${answer.text}`);
      }),
      { numRuns: 40 },
    );
  });
});
