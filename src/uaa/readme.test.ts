import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TestUaa } from './testing.ts';

/** What Cloud Foundry's UAA has. Source: its API documentation (docs.cloudfoundry.org/api/uaa) and the reference's section 4.1. */
const UAA_HAS =
  `/oauth/authorize /oauth/token /token_key /token_keys /check_token /introspect /userinfo /oauth/token/list
  /oauth/token/revoke/user/:id /oauth/token/revoke/client/:id /oauth/token/revoke/:jti /.well-known/openid-configuration
  /Users /Users/:id /Users/:id/password /Users/:id/status /Users/:id/verify /Users/:id/verify-link /ids/Users /invite_users
  /create_account /verify_user /Groups /Groups/:id /Groups/:id/members /Groups/:id/members/:member_id /Groups/External
  /oauth/clients /oauth/clients/:id /oauth/clients/:id/secret /oauth/clients/tx/modify /oauth/clients/tx/delete
  /oauth/clients/tx/secret /oauth/clients/restricted /oauth/clients/:id/meta /oauth/clients/meta /approvals /identity-zones
  /identity-zones/:id/clients /identity-providers /mfa-providers /login /login.do /logout.do /passcode /info /healthz /varz
  /change_password /forgot_password /reset_password /password_resets /password_change /password/score /email_verifications
  /email_changes /autologin /authenticate /Codes /session /session_management /check-limits /RateLimitingStatus
  /saml/metadata/:origin /saml/SSO/alias/:origin /login/callback/:origin /oauth/token/alias/:entity`.split(/\s+/);

describe('the README of the UAA', () => {
  let uaa: TestUaa;
  let text: string;
  before(async () => {
    uaa = await TestUaa.start();
    text = await readFile(join(import.meta.dirname, 'README.md'), 'utf8');
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  /** The words in code style of the first column of the table whose head begins so. */
  function firstColumn(head: string): string[] {
    const table = text.slice(text.indexOf(`| ${head} |`)).split('\n\n')[0] ?? '';
    const cells = table
      .split('\n')
      .slice(2)
      .map((row) => row.split('|')[1] ?? '');
    return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''));
  }
  const present = (): string[] =>
    firstColumn('endpoint').flatMap((entry) => {
      const at = entry.indexOf('/');
      const methods = entry
        .slice(0, at)
        .split(',')
        .map((method) => method.trim());
      return methods.map((method) => `${method} ${entry.slice(at)}`);
    });

  it('lists every endpoint that is registered, and no other', async () => {
    const registered = (await uaa.routes()).map(({ method, path }) => `${method} ${path}`);
    assert.ok(registered.length > 60);
    assert.deepEqual(present().sort(), registered.sort());
  });

  it("has every endpoint of Cloud Foundry's UAA, as there or as left out", () => {
    const there = new Set(present().map((entry) => entry.slice(entry.indexOf(' ') + 1)));
    const leftOut = new Set(firstColumn('left out on purpose').filter((entry) => entry.startsWith('/')));
    for (const path of UAA_HAS) assert.ok(there.has(path) !== leftOut.has(path), `${path} is in one of the tables`);
  });
});
