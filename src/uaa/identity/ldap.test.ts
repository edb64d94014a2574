import assert from 'node:assert/strict';
import { spawn, type ChildProcess, execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { claimsOf, TestUaa, type Answer } from '../testing.ts';
import type { TokenResponse } from '../tokens/endpoints.ts';

const execute = promisify(execFile);

const ENTRIES = `dn: dc=example,dc=com
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: ann
cn: Ann Arbor
sn: Arbor
givenName: Ann
mail: ann@ldap.example
userPassword: ann-secret

dn: uid=twin,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: One
userPassword: twin-secret

dn: cn=twin two,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin
cn: twin two
sn: Two
userPassword: twin-secret

dn: cn=operators,dc=example,dc=com
objectClass: groupOfNames
cn: operators
member: uid=ann,ou=people,dc=example,dc=com
`;

/** Debian's OpenLDAP with a directory of its own. */
class TestSlapd implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(port: number, folder: string, child: ChildProcess) {
    this.port = port;
    this.#folder = folder;
    this.#process = child;
  }

  static async start(): Promise<TestSlapd> {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-slapd-'));
    const data = join(folder, 'data');
    await mkdir(data);
    const config = join(folder, 'slapd.conf');
    await writeFile(
      config,
      `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile ${folder}/pid
database mdb
maxsize 10485760
suffix "dc=example,dc=com"
rootdn "cn=root,dc=example,dc=com"
rootpw root-secret
directory ${data}
`,
    );
    const entries = join(folder, 'entries.ldif');
    await writeFile(entries, ENTRIES);
    await execute('/usr/sbin/slapadd', ['-f', config, '-l', entries]);
    const port = await freePort();
    const child = spawn('/usr/sbin/slapd', ['-f', config, '-h', `ldap://127.0.0.1:${port}`, '-d', '0'], {
      stdio: 'ignore',
    });
    const url = `ldap://127.0.0.1:${port}`;
    const slapd = new TestSlapd(port, folder, child);
    await eventually('slapd', async () => (await execute('ldapwhoami', ['-x', '-H', url])).stdout !== '');
    return slapd;
  }

  async modify(ldif: string): Promise<void> {
    const file = join(this.#folder, 'change.ldif');
    await writeFile(file, ldif);
    const url = `ldap://127.0.0.1:${this.port}`;
    await execute('ldapmodify', ['-x', '-H', url, '-D', 'cn=root,dc=example,dc=com', '-w', 'root-secret', '-f', file]);
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

describe('people of an LDAP directory', () => {
  let slapd: TestSlapd;
  let uaa: TestUaa;
  before(async () => {
    slapd = await TestSlapd.start();
    uaa = await TestUaa.start({
      lockout: { after_failures: 100 },
      identity_providers: {
        ldap: {
          kind: 'ldap',
          label: 'Directory',
          url: `ldap://127.0.0.1:${slapd.port}`,
          bind_dn: 'cn=root,dc=example,dc=com',
          bind_password: 'root-secret',
          user_search_base: 'ou=people,dc=example,dc=com',
          group_search_base: 'dc=example,dc=com',
          groups: { operators: ['cloud_controller.admin'] },
          timeout_ms: 5_000,
        },
      },
    });
  });
  after(async () => {
    await uaa?.[Symbol.asyncDispose]();
    await slapd?.[Symbol.asyncDispose]();
  });

  const login = async (username: string, password: string, origin?: string): Promise<Answer> => {
    const query =
      origin === undefined ? '' : `?${new URLSearchParams({ login_hint: JSON.stringify({ origin }) }).toString()}`;
    return await uaa.grant({ grant_type: 'password', username, password }, undefined, query);
  };

  it('sign in with its password and get the scopes of its groups', async () => {
    const answer = await login('ann', 'ann-secret');
    assert.equal(answer.status, 200, answer.text);
    const claims = claimsOf(answer.json<TokenResponse>().access_token);
    assert.deepEqual([claims['origin'], claims['user_name'], claims['email']], ['ldap', 'ann', 'ann@ldap.example']);
    assert.ok((claims['scope'] as string[]).includes('cloud_controller.admin'));
    const again = claimsOf((await login('ann', 'ann-secret', 'ldap')).json<TokenResponse>().access_token);
    assert.equal(again['user_id'], claims['user_id']);
  });

  it('lose the scopes when they leave the group', async () => {
    await slapd.modify('dn: cn=operators,dc=example,dc=com\nchangetype: modify\nreplace: member\nmember: cn=nobody\n');
    const { scope } = (await login('ann', 'ann-secret')).json<TokenResponse>();
    assert.ok(!scope.split(' ').includes('cloud_controller.admin'));
  });

  it('are refused by a wrong password, none at all, another origin, or a name that two have', async () => {
    for (const [name, password, origin] of [
      ['ann', 'wrong', undefined],
      ['ann', '', 'ldap'],
      ['ann', 'ann-secret', 'uaa'],
      ['twin', 'twin-secret', undefined],
      ['nobody', 'x', undefined],
    ] as const) {
      assert.ok([400, 401].includes((await login(name, password, origin)).status), name);
    }
  });

  it('cannot put a filter into their name', async () => {
    for (const name of ['*', 'ann)(uid=*', 'a*', '*)(objectClass=*', 'ann)(|(uid=*']) {
      assert.equal((await login(name, 'ann-secret')).status, 401, name);
    }
  });

  it('are refused while the directory is away, and our own people are not', async () => {
    await slapd.stop();
    assert.equal((await login('ann', 'ann-secret')).status, 401);
    await uaa.login();
  });
});
