import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { TestUaa, type Answer } from './testing.ts';

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
  ['too much', 'application/json', JSON.stringify({ userName: 'x'.repeat(1_100_000) })],
];

/** What no field of a body should be, or seldom. */
const HOSTILE: readonly unknown[] = [
  null,
  true,
  -1,
  1e300,
  '',
  '\0',
  '\ud800',
  'x'.repeat(5_000),
  [null],
  [[]],
  { a: {} },
];

/** Several at a time, as many as a browser would. */
async function inParallel<T>(jobs: readonly T[], work: (job: T) => Promise<void>): Promise<void> {
  const waiting = jobs.values();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const job of waiting) await work(job);
    }),
  );
}

type Place = readonly (string | number)[];

/** The place of each value in a body, those within values too. */
function placesOf(value: unknown, at: Place = []): Place[] {
  if (typeof value !== 'object' || value === null) return [at];
  const inner = Object.entries(value).flatMap(([name, part]) =>
    placesOf(part, [...at, Array.isArray(value) ? Number(name) : name]),
  );
  return at.length === 0 ? inner : [at, ...inner];
}

function replaced(body: Record<string, unknown>, place: Place, value: unknown): Record<string, unknown> {
  const copy = structuredClone(body);
  let holder = copy as Record<string | number, unknown>;
  for (const step of place.slice(0, -1)) holder = holder[step] as Record<string | number, unknown>;
  holder[place.at(-1) ?? ''] = value;
  return copy;
}

/** Anything but our fault; and what is refused, is in UAA's error form or on a page. */
function assertOurForm(answer: Answer, what: string): void {
  assert.ok(answer.status < 500, `${what}: ${answer.status} ${answer.text}`);
  const isPage = answer.headers.get('content-type')?.startsWith('text/html') === true || answer.status === 302;
  if (isPage || answer.status < 400) return;
  const { error, error_description } = answer.json<{ error: string; error_description: string }>();
  assert.match(error, /^[a-z_]+$/, what);
  assert.equal(typeof error_description, 'string', what);
}

describe('bad input', () => {
  let uaa: TestUaa;
  let token: string;
  let person: string;
  before(async () => {
    uaa = await TestUaa.start();
    token = await uaa.machineToken();
    person = await uaa.personToken();
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  it("at any endpoint is refused in UAA's form", async () => {
    const routes = [...(await uaa.routes()), { method: 'GET', path: '/none' }, { method: 'POST', path: '/none' }];
    assert.ok(routes.length > 60);
    let refused = 0;
    const jobs = routes.flatMap(({ method, path }) =>
      BODIES.filter(([, , body]) => method !== 'GET' || body === undefined).map((body) => ({ method, path, body })),
    );
    await inParallel(jobs, async ({ method, path, body: [what, type, body] }) => {
      const answer = await uaa.request(path.replace(/:\w+/g, 'x'), {
        method,
        headers: type === undefined ? {} : { 'content-type': type },
        ...(body !== undefined && { body }),
        token: what === 'no body' ? person : token,
      });
      assertOurForm(answer, `${method} ${path} ${what}`);
      if (answer.status >= 400) refused += 1;
    });
    assert.ok(refused > 300, String(refused));
  });

  it('in any field of a body that is otherwise right is refused, or taken, and never our fault', async () => {
    const user_id = await uaa.addUser('victim');
    const group = await uaa.request('/Groups', { method: 'POST', json: { displayName: 'victims' }, token });
    const group_id = group.json<{ id: string }>().id;
    const right: [string, string, Record<string, unknown>][] = [
      [
        'POST',
        '/Users',
        {
          userName: 'new',
          password: 'p',
          emails: [{ value: 'a@b.c', primary: true }],
          name: { givenName: 'a', familyName: 'b' },
          active: true,
          verified: true,
          // Of a user of ours the password would be hashed, which is slow on purpose.
          origin: 'ldap',
          externalId: 'x',
          phoneNumbers: [{ value: '1' }],
          schemas: [],
          meta: { attributes: [] },
        },
      ],
      [
        'PUT',
        `/Users/${user_id}`,
        { userName: 'victim', emails: [{ value: 'a@b.c' }], name: { givenName: 'a' }, id: user_id },
      ],
      [
        'PATCH',
        `/Users/${user_id}`,
        {
          userName: 'victim',
          name: { givenName: 'a' },
          phoneNumbers: [{ value: '1' }],
          meta: { attributes: ['name'] },
        },
      ],
      ['PATCH', `/Users/${user_id}/status`, { locked: false }],
      ['PUT', `/Users/${user_id}/password`, { password: 'p' }],
      [
        'POST',
        '/Groups',
        { displayName: 'g', description: 'd', members: [{ value: user_id, type: 'USER', origin: 'uaa' }] },
      ],
      ['PUT', `/Groups/${group_id}`, { displayName: 'victims', description: 'd', members: [{ value: user_id }] }],
      [
        'PATCH',
        `/Groups/${group_id}`,
        { description: 'd', members: [{ value: user_id, operation: 'delete' }], meta: { attributes: ['description'] } },
      ],
      ['POST', `/Groups/${group_id}/members`, { value: user_id, type: 'USER', origin: 'uaa' }],
      [
        'POST',
        '/oauth/clients',
        {
          client_id: 'c',
          scope: ['openid'],
          authorities: ['uaa.none'],
          authorized_grant_types: ['authorization_code'],
          redirect_uri: ['http://a.example/'],
          autoapprove: ['openid'],
          access_token_validity: 60,
          refresh_token_validity: 60,
          allowedproviders: ['uaa'],
          resource_ids: [],
          name: 'n',
          allowpublic: true,
        },
      ],
      ['POST', '/oauth/clients', { client_secret: 's', authorized_grant_types: ['client_credentials'] }],
      [
        'PUT',
        '/oauth/clients/doppler',
        { client_id: 'doppler', authorities: ['uaa.resource'], authorized_grant_types: ['client_credentials'] },
      ],
      ['PUT', '/oauth/clients/doppler/secret', { changeMode: 'UPDATE', oldSecret: 'x' }],
      ['PUT', '/oauth/clients/doppler/secret', { secret: 'resource-secret', changeMode: 'DELETE' }],
      ['PUT', '/approvals', { '0': { clientId: 'cf', scope: 'openid', status: 'APPROVED' } }],
    ];
    const jobs = right.flatMap(([method, path, body]) =>
      placesOf(body).flatMap((place) => HOSTILE.map((value) => ({ method, path, body, place, value }))),
    );
    assert.ok(jobs.length > 500, String(jobs.length));
    await inParallel(jobs, async ({ method, path, body, place, value }) => {
      const json = replaced(body, place, value);
      const isOwn = path === '/approvals';
      const answer = await uaa.request(path, {
        method,
        json: isOwn ? Object.values(json) : json,
        token: isOwn ? person : token,
        headers: { 'if-match': '*' },
      });
      assertOurForm(answer, `${method} ${path} ${place.join('.')}=${JSON.stringify(value)?.slice(0, 60)}`);
    });
  });

  it('in the forms of the token endpoint is refused, grant by grant', async () => {
    const forms: Record<string, string>[] = [
      { grant_type: 'password', username: 'admin', password: 'x', login_hint: '{"origin":"uaa"}', scope: 'openid' },
      { grant_type: 'password', passcode: 'x' },
      { grant_type: 'refresh_token', refresh_token: 'x', scope: 'openid' },
      { grant_type: 'client_credentials', scope: 'openid', token_format: 'opaque' },
      { grant_type: 'authorization_code', code: 'x', redirect_uri: 'http://x', code_verifier: 'x' },
      { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: 'x.y.z', scope: 'openid' },
    ];
    const texts = ['', '\0', '%', 'x'.repeat(20_000), '{"origin":{}}', '\ud800', "' or 1=1 --", token];
    const jobs = forms.flatMap((form) =>
      Object.keys(form).flatMap((name) => {
        const without = Object.fromEntries(Object.entries(form).filter(([other]) => other !== name));
        return [without, ...texts.map((text) => ({ ...form, [name]: text }))];
      }),
    );
    await inParallel(jobs, async (form) => assertOurForm(await uaa.grant(form), JSON.stringify(form).slice(0, 200)));
  });

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
          uaa.grant({ grant_type: text, client_id: text }, { user: text, password: text }),
          uaa.request('/userinfo', { headers: { authorization: `Basic ${Buffer.from(text).toString('base64')}` } }),
        ]);
        for (const answer of answers) assert.ok(answer.status < 500, `${text}: ${answer.text}`);
      }),
      { numRuns: 25 },
    );
  });
});
