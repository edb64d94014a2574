import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TestServices } from '#cloud-controller/services-testing.ts';
import { freePort } from '#testing/free-port.ts';
import { CATALOG } from '#testing/osb-broker.ts';

const CF = resolve(import.meta.dirname, '../../bin/cf');

/** Commands that need a broker which can be changed, broken and taken away: `cf`, a cloud controller and a broker of a test. */
describe('cf, with a broker that comes and goes', () => {
  let services: TestServices;
  let home = '';

  before(async () => {
    const port = await freePort();
    const [api, elsewhere] = [`http://127.0.0.1:${port}`, 'http://elsewhere.localhost'];
    const urls = { api, uaa: elsewhere, login: elsewhere, log_cache: elsewhere };
    services = await TestServices.start({ external: { port }, urls });
    const { cc } = services;
    home = await mkdtemp(join(tmpdir(), 'ingot-cf-'));
    await mkdir(join(home, '.cf'));
    const session = {
      Target: cc.cc.url,
      AccessToken: `bearer ${cc.admin.token}`,
      OrganizationFields: { GUID: cc.organization_guid, Name: 'o' },
      SpaceFields: { GUID: cc.space_guid, Name: 's', AllowSSH: true },
    };
    await writeFile(join(home, '.cf/config.json'), JSON.stringify(session));
  });
  after(async () => {
    await services[Symbol.asyncDispose]();
    await rm(home, { recursive: true });
  });

  async function cf(args: string, input = ''): Promise<{ exit_status: number; output: string }> {
    return await new Promise((settle) => {
      const child = execFile(CF, args.split(' '), { env: { ...process.env, CF_HOME: home } }, (error, out, err) =>
        settle({ exit_status: error ? Number(error.code) : 0, output: out + err }),
      );
      // One that asks nothing may be gone before it is answered.
      child.stdin?.on('error', () => {});
      child.stdin?.end(input);
    });
  }
  /** Runs commands one after another, with no for an answer; each must say what is expected. */
  async function says(...steps: readonly (readonly [args: string, expected: RegExp])[]): Promise<void> {
    for (const [args, expected] of steps) {
      const { exit_status, output } = await cf(args, 'n\n');
      assert.equal(exit_status, 0, `cf ${args}: ${output}`);
      assert.match(output, expected, `cf ${args}`);
    }
  }
  async function refuses(args: string, expected: RegExp): Promise<void> {
    const { exit_status, output } = await cf(args);
    assert.deepEqual([exit_status, expected.test(output)], [1, true], output);
  }

  it('shows and changes who may use which plan', async () => {
    await says(
      [
        'service-access',
        /Getting service access as admin\.\.\.\n\nbroker: the-broker\n {3}offering +plan +access +orgs\n {3}postgres +large +all *\n {3}postgres +small +all *\n/,
      ],
      [
        'enable-service-access postgres -p small -o o',
        /Did not update plan small as it already has visibility all\.\n\nOK/,
      ],
      ['disable-service-access postgres', /Disabling access to all plans of service offering postgres for all orgs as/],
      ['disable-service-access postgres -p small', /Did not update plan small as it already has visibility none\./],
      ['enable-service-access postgres -p small -o o', /OK/],
      [
        'service-access -e postgres -b the-broker -o o',
        /for broker the-broker and service offering postgres and organization o as[^]*postgres +small +limited +o\n/,
      ],
      ['enable-service-access postgres', /OK/],
    );
    await refuses('disable-service-access postgres -o o', /Cannot remove organization level access for public plans\./);
    await refuses('service-access -e nothing', /Service offering 'nothing' not found\./);
  });

  it('rotates the credentials of an app, binding by binding', async () => {
    await services.instance('db');
    await services.cc.applyManifest({ applications: [{ name: 'client', memory: '64M' }] });
    await says(
      ['bind-service client db --wait', /OK\n/],
      ['bind-service client db', /App client is already bound to service instance db\./],
      ['bind-service client db --strategy multiple --wait', /OK\n/],
      ['bind-service client db --strategy multiple --wait', /OK\n/],
    );
    assert.equal(services.broker.bindings.size, 3);
    await refuses('bind-service client db --strategy several', /strategy/i);
    const [oldest, , newest] = (await services.cc.admin.get('/v3/service_credential_bindings')).each('guid');
    await refuses('cleanup-outdated-service-bindings client', /Found 2 outdated service bindings\.[^]*EOF/);
    await says([
      'cleanup-outdated-service-bindings client',
      /Found 2 outdated service bindings\.[^]*Outdated service bindings have not been deleted/,
    ]);
    await says([
      'cleanup-outdated-service-bindings client --keep-last 2 --force --wait',
      /Deleting service binding \S+\.\.\.\nOK\s*$/,
    ]);
    assert.ok(!services.broker.bindings.has(String(oldest)));
    await says(
      ['cleanup-outdated-service-bindings client --service-instance db -f -w', /Found 1 outdated service binding\./],
      ['cleanup-outdated-service-bindings client', /No outdated service bindings found\.\nOK/],
      ['unbind-service client db --guid no-such', /Service binding with GUID no-such does not exist\nOK/],
      ['bind-service client db --strategy multiple --wait', /OK/],
      [
        `unbind-service client db --guid ${String(newest)} --wait`,
        new RegExp(`binding ${String(newest)}\\.\\.\\.\nOK`),
      ],
    );
    assert.equal(services.broker.bindings.size, 1);
    await says(
      ['unbind-service client db --wait', /OK/],
      ['unbind-service client db', /Binding between db and client/],
    );
    assert.equal(services.broker.bindings.size, 0);
  });

  it('upgrades an instance to what its plan has become', async () => {
    await says(['upgrade-service db -f', /No upgrade is available\.\nOK/]);
    const [service] = structuredClone(CATALOG.services);
    const plans = service?.plans.map((plan) => ({ ...plan, maintenance_info: { version: '2.0.0' } }));
    services.broker.catalog = { services: [{ ...service, plans }] };
    const { url, username, password } = services.broker;
    await says(
      [`update-service-broker the-broker ${username} ${password} ${url}`, /OK/],
      ['upgrade-service db', /may be long running[^]*Upgrade cancelled/],
      [
        'upgrade-service db --force --wait',
        /Upgrading service instance db in org o [^]*Upgrade of service instance db complete\.\nOK/,
      ],
      ['upgrade-service db -f', /No upgrade is available\./],
    );
    const { maintenance_info } = services.broker.callsOf('update').at(-1)?.body ?? {};
    assert.deepEqual(maintenance_info, { version: '2.0.0' });
  });

  it('forgets what a lost broker holds, and asks it nothing', async () => {
    const asked = services.broker.calls.length;
    await says(
      ['purge-service-instance db', /WARNING: This operation assumes[^]*Purge cancelled/],
      ['purge-service-instance db -f', /Service instance db purged\.\nOK/],
      ['purge-service-instance db -f', /Service instance db did not exist\.\nOK/],
      ['purge-service-offering postgres', /WARNING: This operation assumes[^]*Purge service offering cancelled/],
      ['purge-service-offering postgres -b the-broker -f', /Purging service offering postgres\.\.\.\nOK/],
      ['purge-service-offering postgres -f', /Service offering 'postgres' not found\.\nOK/],
      ['service-access', /No service plans found\./],
    );
    assert.equal(services.broker.calls.length, asked);
  });
});
