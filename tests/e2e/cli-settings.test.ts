import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TestPlatform } from './platform.ts';

/** The commands that cli-commands.test.ts leaves out: those of a running app, and of what holds for all apps. */
describe('cf, of running apps and of the platform', () => {
  let platform: TestPlatform;
  const folders: string[] = [];
  const org = 'set-org';
  let env: Record<string, string>;

  const must = async (...args: string[]): Promise<string> => await platform.mustCf(args, { env });
  /** Runs commands one after another; each must say what is expected. */
  async function says(...steps: readonly (readonly [args: string, expected: RegExp])[]): Promise<void> {
    for (const [args, expected] of steps) assert.match(await must(...args.split(' ')), expected, `cf ${args}`);
  }

  before(async () => {
    platform = await TestPlatform.start();
    const home = await platform.folder({
      '.cf/config.json': await readFile(join(platform.cfHome, '.cf/config.json'), 'utf8'),
    });
    folders.push(home);
    env = { CF_HOME: home };
    await must('create-org', org);
    await must('target', '-o', org);
    await must('create-space', 'one');
    await must('create-space', 'two');
    await must('target', '-s', 'one');
  });
  after(async () => {
    for (const args of [
      'disable-feature-flag route_sharing',
      'unbind-staging-security-group set-group',
      'unbind-running-security-group set-group',
      'delete-security-group set-group -f',
      'reset-org-default-isolation-segment set-org',
      `delete-org ${org} -f`,
      'delete-isolation-segment set-segment -f',
      'delete-buildpack set-buildpack -f',
    ])
      await platform.cf(args.split(' '), { env });
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  it('changes an app that runs, and takes a change back', async () => {
    const source = await platform.sample('static');
    folders.push(source);
    await must('push', 'set-app', '-m', '64M', '-p', source);
    await says(
      ['set-env set-app KEY VALUE', /Setting env variable KEY for app set-app[\s\S]*TIP: Use 'cf restage set-app'/],
      ['restart set-app', /requested state: +started/],
      ['unset-env set-app KEY', /Removing env variable KEY from app set-app/],
      ['restage set-app', /Staging app and tracing logs/],
      ['revision set-app --version 1', /Showing revision 1 for app set-app[\s\S]*deployed: +false/],
      ['rollback set-app --version 1 -f', /Rolling back to revision 1 for app set-app/],
      [`push set-app -m 64M -p ${source} --strategy canary`, /paused|canary|continue-deployment/i],
      ['continue-deployment set-app', /Continuing deployment for app set-app[\s\S]*requested state: +started/],
      ['delete set-app -f -r', /OK/],
    );
  });

  it('shares and moves routes and domains', async () => {
    await says(
      ['create-private-domain set-org set.example.com', /OK/],
      ['create-route set.example.com -n host', /OK/],
      ['enable-feature-flag route_sharing', /Enabling feature flag route_sharing as admin\.\.\.\nOK/],
      ['share-route set.example.com -n host -s two', /Sharing route host\.set\.example\.com to space two as admin/],
      ['unshare-route set.example.com -n host -s two', /Unsharing route host\.set\.example\.com from space two/],
      ['move-route set.example.com -n host -s two', /Move ownership of route host\.set\.example\.com to space two/],
      ['disable-feature-flag route_sharing', /OK/],
      ['create-shared-domain set.identity --enforce-route-policies --scope org', /OK/],
      ['create-route set.identity -n back', /OK/],
      ['add-route-policy set.identity -n back --source-space one', /source: cf:space:[\s\S]*OK/],
      ['route-policies', /host +domain +path +source +scope +name\nback +set\.identity +cf:space:\S+ +space +one/],
      ['remove-route-policy set.identity -n back --source-space one -f', /Removing route policy for route [\s\S]*OK/],
      ['route-policies', /No route policies found/],
      ['delete-shared-domain set.identity -f', /OK/],
      ['create-org set-other', /OK/],
      ['share-private-domain set-other set.example.com', /Sharing domain set\.example\.com with org set-other/],
      ['unshare-private-domain set-other set.example.com -f', /Unsharing domain set\.example\.com from org set-other/],
      ['delete-org set-other -f', /OK/],
      ['orgs', /name\n[\s\S]*set-org/],
    );
  });

  it('sets what holds for all apps', async () => {
    const folder = await platform.folder({
      'rules.json': '[{"protocol":"tcp","destination":"10.0.0.1","ports":"80"}]',
      'buildpack/bin/detect': '#!/bin/sh\nexit 1\n',
    });
    folders.push(folder);
    await says(
      [`create-security-group set-group ${folder}/rules.json`, /OK/],
      [`update-security-group set-group ${folder}/rules.json`, /Updating security group set-group as admin\.\.\.\n+OK/],
      ['bind-staging-security-group set-group', /OK/],
      ['staging-security-groups', /name\n[\s\S]*set-group/],
      ['unbind-staging-security-group set-group', /OK/],
      ['bind-running-security-group set-group', /Binding security group set-group to running as admin/],
      ['unbind-running-security-group set-group', /OK/],
      ['set-staging-environment-variable-group {"SET":"1"}', /OK/],
      ['staging-environment-variable-group', /variable name +assigned value\nSET +1/],
      ['set-staging-environment-variable-group {}', /OK/],
      ['set-running-environment-variable-group {}', /OK/],
      ['create-isolation-segment set-segment', /OK/],
      ['enable-org-isolation set-org set-segment', /OK/],
      [
        'set-org-default-isolation-segment set-org set-segment',
        /Setting isolation segment set-segment to default on org/,
      ],
      ['reset-org-default-isolation-segment set-org', /Resetting default isolation segment of org set-org/],
      [`create-buildpack set-buildpack ${folder}/buildpack 99`, /OK/],
      ['update-buildpack set-buildpack --disable', /Updating buildpack set-buildpack as admin\.\.\.\nOK/],
      ['create-space-quota set-quota -m 1G', /OK/],
      ['space-quotas', /name +total memory[^\n]*\nset-quota +1G/],
      ['update-space-quota set-quota -m 2G', /OK/],
      ['update-stack cflinuxfs4 --state active', /state: +ACTIVE/],
      ['delete-space two -f', /Deleting space two in org set-org as admin\.\.\.\nOK/],
      ['version', /^cf version /],
    );
  });

  it('points at an API, and leaves it', async () => {
    const home = await platform.folder({});
    folders.push(home);
    const own = { env: { CF_HOME: home } };
    const api = `http://api.${platform.domain}:${platform.port}`;
    assert.match(await platform.mustCf(['api', api], own), /Setting API endpoint to [\s\S]*OK/);
    assert.match(await platform.mustCf(['config', '--color', 'false'], own), /Setting values in config\.\.\.\nOK/);
    assert.match(await platform.mustCf(['logout'], own), /Logging out/);
  });
});
