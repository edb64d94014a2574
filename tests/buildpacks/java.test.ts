import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { whyWithoutDebian, whyWithoutMavenCentral } from '#testing/registries.ts';
import { Sandbox } from './sandbox.ts';

const skip = (await whyWithoutDebian()) || (await whyWithoutMavenCentral());

/** Its cache holds Java and Maven, its app folder a jar that Maven has built. */
let built: Sandbox;
before(async () => {
  built = await Sandbox.create();
});
after(() => built[Symbol.asyncDispose]());

async function warmSandbox(): Promise<Sandbox> {
  const sandbox = await Sandbox.create();
  await sandbox.useCacheOf(built);
  return sandbox;
}

describe('the java buildpack', () => {
  const cases: [string, Record<string, string>, boolean][] = [
    [
      'an unpacked jar that can be run',
      { 'META-INF/MANIFEST.MF': 'Manifest-Version: 1.0\r\nMain-Class: a.B\r\n\r\n' },
      true,
    ],
    [
      'an unpacked jar that is a library',
      { 'META-INF/MANIFEST.MF': 'Manifest-Version: 1.0\r\n\r\nName: a/\r\nMain-Class: x\r\n' },
      false,
    ],
    ['a web archive', { 'WEB-INF/web.xml': '' }, true],
    ['a Maven project', { 'pom.xml': '' }, true],
    ['one jar', { 'app.jar': '' }, true],
    ['two jars', { 'a.jar': '', 'b.jar': '' }, false],
  ];
  for (const [what, files, expected] of cases) {
    it(`${expected ? 'detects' : 'does not detect'} ${what}`, async () => {
      await using sandbox = await Sandbox.create();
      await sandbox.place(files);
      assert.equal((await sandbox.detect('java')).status === 0, expected);
    });
  }

  it('builds samples/java with Maven and serves it in a heap that fits its memory', { skip }, async () => {
    await built.placeSample('java');
    const { status, output, start } = await built.stage(['java']);
    assert.equal(status, 0, output);
    assert.equal(start, 'SERVER_PORT=$PORT exec java $JAVA_OPTS -jar target/sample-1.0.0.jar');
    const server = await built.serve(start, { CF_INSTANCE_INDEX: '1', MEMORY_LIMIT: '384m' });
    const seen = (await (await fetch(server.url)).json()) as Record<string, string>;
    assert.equal(seen['instance_index'], '1');
    assert.match(seen['java'] ?? '', /^17\./);
    const heap_mb = Number(seen['heap_mb']);
    assert.ok(heap_mb > 128 && heap_mb < 256, String(heap_mb));
    assert.equal((await server.stop()).status, 143);
  });

  it('starts a jar as cf push -p unpacks it, without any network', { skip }, async () => {
    await using sandbox = await warmSandbox();
    sandbox.hasNetwork = false;
    await sandbox.placeArchive(built, 'tmp/app/target/sample-1.0.0.jar');
    const { status, output, start } = await sandbox.stage(['java']);
    assert.equal(status, 0, output);
    assert.match(start ?? '', /exec java \$JAVA_OPTS -cp \. org\.springframework\.boot\.loader\.\w+\.JarLauncher$/);
    sandbox.hasNetwork = true;
    const server = await sandbox.serve(start, { MEMORY_LIMIT: '384m' });
    assert.equal(await (await fetch(`${server.url}/health`)).text(), 'ok');
    await server.stop('SIGKILL');
  });

  it('serves a web archive from Tomcat, at the root, and trusts the authorities of the stack', { skip }, async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({
      'WEB-INF/web.xml': '<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"/>',
      'index.jsp':
        '<%@ page import="java.security.KeyStore" %><% KeyStore k = KeyStore.getInstance(new java.io.File(System.getProperty("java.home"), "lib/security/cacerts"), "changeit".toCharArray()); %>path=[${pageContext.request.contextPath}] authorities=<%= k.size() %>',
    });
    const { status, output, start } = await sandbox.stage(['java']);
    assert.equal(status, 0, output);
    assert.match(output, /Tomcat 10\.1\.\d+\n/);
    const server = await sandbox.serve(start, { MEMORY_LIMIT: '256m' });
    assert.match(await (await fetch(server.url)).text(), /^path=\[\] authorities=[1-9]\d+/);
    assert.equal((await server.stop()).status, 143);
  });
});

describe('staging by the java buildpack fails and says why when', () => {
  it('the app asks for another Java than there is', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({ 'pom.xml': '', 'system.properties': 'java.runtime.version=8\n' });
    const { status, output } = await sandbox.stage(['java']);
    assert.notEqual(status, 0);
    assert.match(output, /the app asks for Java 8, and this buildpack has Java 17 only/);
  });

  it('no mirror of Debian answers', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({ 'pom.xml': '' });
    const env = { DEBIAN_MIRROR: 'http://127.0.0.1:9/debian', DEBIAN_SECURITY_MIRROR: 'http://127.0.0.1:9/security' };
    const { status, output } = await sandbox.stage(['java'], env);
    assert.notEqual(status, 0);
    assert.match(output, /Debian's packages openjdk-17-jre-headless openjdk-17-jdk-headless can't be had/);
  });

  it('Maven fails, with what it said', { skip }, async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({ 'pom.xml': '<project><modelVersion>4.0.0</modelVersion></project>' });
    const { status, output } = await sandbox.stage(['java']);
    assert.notEqual(status, 0);
    assert.match(output, /'artifactId' is missing[\s\S]*mvn package failed/);
  });
});
