import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TestPlatform } from './platform.ts';

/** Most commands once, in an org of their own: columns and words. docs/cf-commands.md tells which test runs which. */
describe('cf, command by command', () => {
  let platform: TestPlatform;
  const folders: string[] = [];
  const org = 'cli-org';
  /** A session of its own: other files target as they please. */
  let env: Record<string, string>;

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
    for (const command of [
      ['delete-org', org, '-f'],
      ['delete-org-quota', 'cli-quota', '-f'],
      ['delete-security-group', 'cli-group', '-f'],
      ['delete-isolation-segment', 'cli-segment', '-f'],
      ['delete-shared-domain', 'cli-shared.example.com', '-f'],
      ['delete-shared-domain', 'cli-tcp.example.com', '-f'],
      ['delete-user', 'cli-user', '-f'],
      ['delete-buildpack', 'cli-buildpack', '-f'],
    ])
      await platform.cf(command, { env });
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  async function must(...args: string[]): Promise<string> {
    return await platform.mustCf(args, { env });
  }
  /** Runs commands one after another; each must say what is expected. */
  async function says(...steps: readonly (readonly [args: string, expected: RegExp])[]): Promise<void> {
    for (const [args, expected] of steps) assert.match(await must(...args.split(' ')), expected, `cf ${args}`);
  }
  async function refuses(args: string, expected: RegExp): Promise<void> {
    const { exit_status, output } = await platform.cf(args.split(' '), { env });
    assert.equal(exit_status, 1, output);
    assert.match(output, expected);
    assert.match(output, /FAILED/);
  }

  it('lists commands in groups, explains one, and tells wrong words', async () => {
    await says(
      ['help', /Application lifecycle:[\s\S]*push,p/],
      ['help -a', /APPS:[\s\S]* {3}create-app +Create an Application[\s\S]*ORG ADMIN:[\s\S]*GLOBAL OPTIONS:/],
      ['help rename', /NAME:\n {3}rename - Rename an app\n\nUSAGE:\n {3}cf rename APP_NAME NEW_APP_NAME/],
    );
    await refuses('rename', /Incorrect Usage: the required argument `APP_NAME` was not provided/);
    await refuses('apps --nothing', /Incorrect Usage: unknown flag `nothing'/);
    assert.match((await platform.cf(['nothing'], { env })).output, /'nothing' is not a registered command/);
  });

  it('makes, renames, describes and labels an app that is never started', async () => {
    await says(
      ['create-app first', /Using app type "buildpack"\nOK/],
      ['create-app first', /already exists/],
      ['rename first app', /Renaming app first to app in org cli-org \/ space one as admin\.\.\.\nOK/],
      ['packages app', /No packages found\./],
      ['droplets app', /No droplets found/],
      ['tasks app', /No tasks found for application\./],
      ['revisions app', /No revisions found/],
      ['set-health-check app http --endpoint /up', /OK/],
      ['get-health-check app', /process +health check +endpoint \(for http\) +invocation timeout\nweb +http +\/up +1/],
      ['get-readiness-health-check app', /process +type +endpoint \(for http\) +invocation timeout +interval\nweb/],
      ['disable-ssh app', /OK/],
      ['ssh-enabled app', /ssh support is disabled for app 'app'\./],
      ['enable-ssh app', /Enabling ssh support for app app as admin/],
      ['set-label app app tier=front', /Setting label\(s\) for app app in org cli-org \/ space one as admin\.\.\.\nOK/],
      ['labels app app', /key +value\ntier +front/],
      ['unset-label app app tier', /Removing label\(s\)/],
      ['labels app app', /No labels found\./],
    );
    await refuses('cancel-deployment app', /No active deployment found for app\./);
    await refuses('labels planet earth', /Unsupported resource type of 'planet'/);
    await refuses('task app 1', /Task sequence ID 1 not found\./);
    await refuses('restart-app-instance app 0', /Instance 0 of process web not found/);
    const folder = await platform.folder({});
    folders.push(folder);
    const file = join(folder, 'm.yml');
    await says(
      [`create-app-manifest app -p ${file}`, /Manifest file created successfully at/],
      [`apply-manifest -f ${file}`, /OK/],
    );
    assert.match(await readFile(file, 'utf8'), /name: app/);
  });

  it('builds an app piece by piece, runs a task of it, and copies its source', async () => {
    const source = await platform.sample('static');
    folders.push(source);
    await must('create-app', 'pieces');
    await must('create-app', 'copy');
    const package_guid = /guid '([\w-]+)' has been created/.exec(
      await must('create-package', 'pieces', '-p', source),
    )?.[1];
    assert.ok(package_guid);
    await says([
      'packages pieces',
      new RegExp(`guid +state +created\n${package_guid} +ready +\\w{3}, \\d\\d \\w{3} \\d{4}`),
    ]);
    const staged = await must('stage-package', 'pieces', '--package-guid', package_guid);
    const droplet = /droplet guid: +([\w-]+)/.exec(staged)?.[1];
    assert.ok(droplet, staged);
    await says(
      [`set-droplet pieces ${droplet}`, /OK/],
      ['droplets pieces', new RegExp(`${droplet} \\(current\\) +staged`)],
      [`download-droplet pieces -p ${source}`, /Droplet downloaded successfully at .*droplet_.*\.tgz/],
      [
        'run-task pieces --command true --name t -m 32M -k 64M --wait',
        /task id: +1[\s\S]*Task has completed successfully\./,
      ],
      ['tasks pieces', /id +name +state +start time +command\n1 +t +SUCCEEDED/],
      ['task pieces 1', /memory in mb: +32/],
      ['copy-source pieces copy --no-restart', /Copying source from app pieces to target app copy/],
    );
    assert.match((await platform.cf(['terminate-task', 'pieces', '1'], { env })).output, /SUCCEEDED|terminal|FAILED/);
  });

  it('shows, renames and opens orgs and spaces', async () => {
    await says(
      ['org cli-org', /name: +cli-org\ndomains: +.+\nquota: +default\nspaces: +one, two\nisolation segments:/],
      ['space one', /apps: .*\n.*services:[\s\S]*running security groups: +\w/],
      ['space one --security-group-rules', /security group +destination +ports +protocol +lifecycle +description/],
      ['rename-space two second', /Renaming space two to second as admin\.\.\.\nOK/],
      ['rename-space second two', /OK/],
      ['disallow-space-ssh two', /OK/],
      ['space-ssh-allowed two', /ssh support is disabled in space 'two'\./],
      ['allow-space-ssh two', /OK/],
      ['rename-org cli-org cli-other', /OK/],
      ['rename-org cli-other cli-org', /OK/],
    );
  });

  it('handles domains and routes', async () => {
    await must('create-app', 'routed');
    await says(
      ['create-private-domain cli-org cli.example.com', /TIP: Domain 'cli\.example\.com' is a private domain/],
      ['create-shared-domain cli-shared.example.com', /is shared with all orgs/],
      ['router-groups', /name +type\ndefault-tcp +tcp/],
      ['create-shared-domain cli-tcp.example.com --router-group default-tcp', /is shared with all orgs/],
      ['create-route cli-tcp.example.com --port 1101', /Route cli-tcp\.example\.com:1101 has been created\.\nOK/],
      ['create-route cli-tcp.example.com', /Route cli-tcp\.example\.com:1\d{3} has been created\.\nOK/],
      ['map-route routed cli-tcp.example.com --port 1101', /Mapping route cli-tcp\.example\.com:1101 to app routed/],
      ['delete-shared-domain cli-tcp.example.com -f', /OK/],
      ['domains', /name +availability +internal +protocols\n[\s\S]*cli\.example\.com +private +http/],
      ['create-route cli.example.com -n host', /Route host\.cli\.example\.com has been created\.\nOK/],
      ['map-route routed cli.example.com -n host', /OK/],
      [
        'routes',
        /space +host +domain +port +path +protocol +app-protocol +app-port +apps +service instance +options\none +host/,
      ],
      [
        'route cli.example.com -n host',
        /Destinations:\n\tapp +process +port +app-protocol\n\trouted +web +8080 +http1/,
      ],
      ['check-route cli.example.com -n host', /Route 'host\.cli\.example\.com' does exist\./],
      ['check-route cli.example.com -n other', /does not exist\./],
      ['update-route cli.example.com -n host -o loadbalancing=round-robin', /has been updated\nOK/],
      ['update-destination routed cli.example.com -n host --app-protocol http2', /from http1 to http2/],
      ['unmap-route routed cli.example.com -n host', /OK/],
      ['delete-route cli.example.com -n host -f', /OK/],
      ['create-route cli.example.com -n orphan', /OK/],
      ['delete-orphaned-routes -f', /Deleting orphaned routes as admin\.\.\.\nOK/],
      ['routes', /No routes found\./],
      ['delete-private-domain cli.example.com -f', /OK/],
      ['delete-shared-domain cli-shared.example.com -f', /OK/],
    );
    await refuses(
      'share-route cli-missing.example.com -n host -s two',
      /Domain 'cli-missing\.example\.com' not found\./,
    );
  });

  it('handles users, roles and quotas', async () => {
    await says(
      ['create-user cli-user some-password-1', /OK/],
      ['create-user cli-user some-password-1', /User 'cli-user' already exists\./],
      [
        'set-org-role cli-user cli-org OrgAuditor',
        /Assigning role OrgAuditor to user cli-user in org cli-org as admin/,
      ],
      ['set-space-role cli-user cli-org one SpaceDeveloper', /OK/],
      ['org-users cli-org', /ORG AUDITOR\n {2}cli-user \(uaa\)/],
      ['space-users cli-org one', /SPACE DEVELOPER\n[\s\S]*cli-user \(uaa\)/],
      ['unset-space-role cli-user cli-org one SpaceDeveloper', /OK/],
      ['unset-org-role cli-user cli-org OrgAuditor', /OK/],
      ['delete-user cli-user -f', /Deleting user cli-user as admin\.\.\.\nOK/],
      ['create-org-quota cli-quota -m 2G -r 7 -l 1M', /OK/],
      ['org-quotas', /name +total memory +instance memory +routes[\s\S]*cli-quota +2G +unlimited +7/],
      ['update-org-quota cli-quota -m -1', /OK/],
      ['org-quota cli-quota', /total memory: +unlimited[\s\S]*log volume per second: +1M/],
      ['set-org-quota cli-org cli-quota', /OK/],
      ['set-org-quota cli-org default', /OK/],
      ['delete-org-quota cli-quota -f', /OK/],
      ['create-space-quota small -m 1G', /OK/],
      ['set-space-quota two small', /OK/],
      ['space-quota small', /paid service plans: +disallowed/],
      ['unset-space-quota two small', /OK/],
      ['delete-space-quota small -f', /OK/],
    );
    await refuses('set-org-role admin cli-org King', /ROLE must be "OrgManager", "BillingManager" or "OrgAuditor"/);
  });

  it('handles security groups, isolation segments and what holds for the platform', async () => {
    const folder = await platform.folder({
      'rules.json': '[{"protocol":"tcp","destination":"10.0.0.1","ports":"80"}]',
    });
    folders.push(folder);
    await says(
      [`create-security-group cli-group ${folder}/rules.json`, /OK/],
      ['bind-security-group cli-group cli-org --space one', /Assigning running security group cli-group to space one/],
      ['security-groups', /name +organization +space +lifecycle\n[\s\S]*cli-group +cli-org +one +running/],
      ['security-group cli-group', /"protocol": "tcp"[\s\S]*organization +space\ncli-org +one/],
      ['unbind-security-group cli-group cli-org one', /OK/],
      ['running-security-groups', /name\n/],
      ['delete-security-group cli-group -f', /OK/],
      ['create-isolation-segment cli-segment', /OK/],
      ['enable-org-isolation cli-org cli-segment', /OK/],
      ['isolation-segments', /name +orgs\n[\s\S]*cli-segment +cli-org/],
      ['set-space-isolation-segment two cli-segment', /OK/],
      ['space two', /isolation segment: +cli-segment\n/],
      ['reset-space-isolation-segment two', /platform default/],
      ['disable-org-isolation cli-org cli-segment', /OK/],
      ['delete-isolation-segment cli-segment -f', /OK/],
      ['feature-flags', /name +state\n[\s\S]*diego_docker +(dis|en)abled/],
      ['feature-flag user_org_creation', /Features +State\nuser_org_creation/],
      ['running-environment-variable-group', /running environment variable group/],
      ['stacks', /name +description +state/],
      ['stack cflinuxfs4', /name: +cflinuxfs4/],
      ['buildpacks', /position +name +stack +enabled +locked +state +filename +lifecycle/],
    );
  });

  it('makes and binds services that users provide', async () => {
    await must('create-app', 'client');
    await must('cups', 'db', '-p', '{"uri":"db://x"}', '-t', 'a, b');
    await says(
      ['services', /name +offering +plan +bound apps +last operation +broker +upgrade available\ndb +user-provided/],
      ['bind-service client db', /TIP: Use 'cf restage client'/],
      ['bind-service client db', /App client is already bound to service instance db\./],
      ['service db', /type: +user-provided\ntags: +a, b[\s\S]*Showing bound apps:\n {3}name[^\n]*\n {3}client/],
      ['env client', /db:\/\/x/],
      ['uups db -l syslog://logs.example.com', /OK/],
      ['rename-service db store', /OK/],
      ['unbind-service client store', /OK/],
      ['delete-service store -f', /Service instance store deleted\./],
      ['services', /No service instances found\./],
      ['service-brokers', /No service brokers found|name +url/],
      ['marketplace', /No service offerings found|offering +plans/],
    );
  });
});
