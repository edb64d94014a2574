import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { Provider } from 'oidc-provider';
import { freePort } from '#testing/free-port.ts';
import { ADMIN_PASSWORD, claimsOf, TestUaa } from '../testing.ts';
import type { TokenResponse } from '../tokens/endpoints.ts';

interface Arrived {
  url: string;
  status: number;
  text: string;
}

/** A browser that keeps cookies, follows redirects, and fills in the provider's own development pages. */
class Surfer {
  readonly #cookies = new Map<string, string>();
  /** Redirects to here are not followed. */
  readonly #stop: string | undefined;

  constructor(stop?: string) {
    this.#stop = stop;
  }

  async go(start: string, form?: Record<string, string>): Promise<Arrived> {
    let url = start;
    let body = form === undefined ? undefined : new URLSearchParams(form);
    for (let hops = 0; hops < 30; hops++) {
      const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
      const response = await fetch(url, {
        redirect: 'manual',
        headers: { accept: 'text/html', cookie },
        ...(body !== undefined && { method: 'POST', body }),
      });
      const text = await response.text();
      for (const set of response.headers.getSetCookie()) {
        const [pair = ''] = set.split(';');
        this.#cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1));
      }
      const location = response.headers.get('location');
      body = undefined;
      if (location !== null) {
        url = new URL(location, url).href;
        if (this.#stop !== undefined && url.startsWith(this.#stop)) return { url, status: response.status, text };
      } else if (text.includes('name="prompt" value="login"')) {
        body = new URLSearchParams({ prompt: 'login', login: 'ann', password: 'any' });
        url = actionOf(text, url);
      } else if (text.includes('name="prompt" value="consent"')) {
        body = new URLSearchParams({ prompt: 'consent' });
        url = actionOf(text, url);
      } else {
        return { url, status: response.status, text };
      }
    }
    throw new Error('too many redirects');
  }
}

const actionOf = (text: string, url: string): string => new URL(/action="([^"]+)"/.exec(text)?.[1] ?? '', url).href;

describe('people of an OpenID Connect provider', () => {
  let uaa: TestUaa;
  let issuer: string;
  let peer: Server;
  let groups = ['ops'];
  before(async () => {
    const [uaaPort, peerPort] = [await freePort(), await freePort()];
    const url = `http://127.0.0.1:${uaaPort}`;
    issuer = `http://127.0.0.1:${peerPort}`;
    const provider = new Provider(issuer, {
      clients: [{ client_id: 'ingot', client_secret: 'peer-secret', redirect_uris: [`${url}/login/callback/acme`] }],
      claims: { openid: ['sub'], profile: ['preferred_username', 'given_name', 'groups'], email: ['email'] },
      conformIdTokenClaims: false,
      findAccount: (_context, id) => ({
        accountId: id,
        claims: () => ({
          sub: id,
          preferred_username: `${id}@acme`,
          given_name: 'Ann',
          email: `${id}@acme.example`,
          groups,
        }),
      }),
    });
    peer = await new Promise<Server>((resolve) => {
      const server: Server = provider.listen(peerPort, '127.0.0.1', () => resolve(server));
    });
    uaa = await TestUaa.start({
      listen: { host: '127.0.0.1', port: uaaPort },
      urls: { uaa: url, login: url },
      identity_providers: {
        acme: {
          kind: 'oidc',
          label: 'Acme people',
          issuer,
          client_id: 'ingot',
          client_secret: 'peer-secret',
          groups: { ops: ['cloud_controller.admin'] },
        },
      },
    });
  });
  after(async () => {
    await uaa?.[Symbol.asyncDispose]();
    peer?.closeAllConnections();
    await new Promise((resolve) => peer?.close(resolve));
  });

  async function scopeOf(surfer: Surfer): Promise<Record<string, unknown>> {
    const page = await surfer.go(`${uaa.url}/passcode`);
    const passcode = /id="passcode">([^<]+)</.exec(page.text)?.[1] ?? '';
    return claimsOf((await uaa.grant({ grant_type: 'password', passcode })).json<TokenResponse>().access_token);
  }

  it('sign in there and are users here, with the scopes of their groups', async () => {
    const surfer = new Surfer();
    const page = await surfer.go(`${uaa.url}/login?continue=%2Fpasscode`);
    const link = /href="(\/login\/oidc\/acme[^"]*)"/.exec(page.text)?.[1] ?? '';
    assert.match(page.text, /Acme people/);
    const arrived = await surfer.go(`${uaa.url}${link}`);
    assert.equal(arrived.url, `${uaa.url}/passcode`, arrived.text);
    const claims = await scopeOf(surfer);
    assert.deepEqual(
      [claims['origin'], claims['user_name'], claims['email']],
      ['acme', 'ann@acme', 'ann@acme.example'],
    );
    assert.ok((claims['scope'] as string[]).includes('cloud_controller.admin'));
    groups = [];
    const again = new Surfer();
    await again.go(`${uaa.url}/login/oidc/acme`);
    const later = await scopeOf(again);
    assert.equal(later['user_id'], claims['user_id']);
    assert.ok(!(later['scope'] as string[]).includes('cloud_controller.admin'));
  });

  it('cannot be sent back by somebody else, twice, or without having left', async () => {
    const thief = new Surfer(`${uaa.url}/login/callback/`);
    const { url: callback } = await thief.go(`${uaa.url}/login/oidc/acme`);
    assert.match(callback, /callback\/acme\?code=/);
    const victim = new Surfer();
    assert.equal((await victim.go(callback)).status, 400);
    assert.equal((await thief.go(callback)).status, 400);
    assert.equal((await victim.go(`${uaa.url}/login/callback/acme?code=x&state=y`)).status, 400);
    assert.equal((await victim.go(`${uaa.url}/login/oidc/nobody`)).status, 404);
  });

  it('have no password here', async () => {
    const answer = await uaa.grant({ grant_type: 'password', username: 'ann@acme', password: ADMIN_PASSWORD });
    assert.equal(answer.status, 401);
  });
});
