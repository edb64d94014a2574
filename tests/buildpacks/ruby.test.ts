import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { whyWithoutDebian, whyWithoutRubyGems } from '#testing/registries.ts';
import { Sandbox } from './sandbox.ts';

const skip = await whyWithoutDebian();
const skipWithoutGems = skip || (await whyWithoutRubyGems());

/** A server of nothing but Ruby's own library, and a gem in the app's own folder. */
const own = {
  Gemfile: 'source "https://rubygems.org"\ngem "greeting", path: "greeting"\n',
  'greeting/greeting.gemspec':
    'Gem::Specification.new { |s| s.name = "greeting"; s.version = "1.0.0"; s.summary = "x"; s.authors = ["x"]; s.files = Dir["lib/*", "exe/*"]; s.bindir = "exe"; s.executables = ["greet"] }\n',
  'greeting/exe/greet': '#!/usr/bin/env ruby\nrequire "greeting"\nputs Greeting::TEXT\n',
  'greeting/lib/greeting.rb': 'module Greeting; TEXT = "hello from a gem"; end\n',
  'server.rb': `require "socket"
require "json"
require "greeting"
server = TCPServer.new("0.0.0.0", ENV.fetch("PORT"))
trap("TERM") { exit 0 }
loop do
  client = server.accept
  nil until client.gets.to_s.strip.empty?
  body = { greeting: Greeting::TEXT, rack_env: ENV["RACK_ENV"] }.to_json
  client.write "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: #{body.bytesize}\\r\\n\\r\\n#{body}"
  client.close
end
`,
  Procfile: 'web: bundle exec ruby server.rb\n',
};

/** Its cache holds Debian's packages of Ruby. */
let warm: Sandbox;
before(async () => {
  warm = await Sandbox.create();
});
after(() => warm[Symbol.asyncDispose]());

async function warmSandbox(): Promise<Sandbox> {
  const sandbox = await Sandbox.create();
  await sandbox.useCacheOf(warm);
  return sandbox;
}

describe('the ruby buildpack', () => {
  it('detects a Gemfile', async () => {
    await using sandbox = await Sandbox.create();
    assert.equal((await sandbox.detect('ruby')).status, 1);
    await sandbox.place({ Gemfile: '' });
    assert.match((await sandbox.detect('ruby')).output, /^ruby \d+\.\d+\.\d+\n$/);
  });

  it("installs the Gemfile's gems and serves, away from where it was staged", { skip }, async () => {
    await warm.place(own);
    const { status, output, start } = await warm.stage(['ruby']);
    assert.equal(status, 0, output);
    assert.match(output, /ruby 3\.1\.\d+p?/);
    const server = await warm.serve(start);
    assert.deepEqual(await (await fetch(server.url)).json(), { greeting: 'hello from a gem', rack_env: 'production' });
    await server.stop();
    assert.match(
      (await warm.runToEnd('bundle exec greet; rake --version; irb --version')).output,
      /^hello from a gem\nrake, version .*\nirb \d/,
    );
  });

  it('compiles a gem of vendor/cache against a library that Debian has, without rubygems.org', { skip }, async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({
      'pg.gemspec':
        'Gem::Specification.new { |s| s.name = "pg"; s.version = "1.0.0"; s.summary = "x"; s.authors = ["x"]; s.files = ["ext/extconf.rb", "ext/pg_version.c"]; s.extensions = ["ext/extconf.rb"] }\n',
      'ext/extconf.rb':
        'require "mkmf"\ndir_config("pg")\nhave_header("libpq-fe.h") && have_library("pq", "PQlibVersion") or abort "no libpq"\ncreate_makefile("pg_version")\n',
      'ext/pg_version.c':
        '#include <ruby.h>\n#include <libpq-fe.h>\nstatic VALUE number(VALUE self) { return INT2NUM(PQlibVersion()); }\nvoid Init_pg_version(void) { rb_define_global_function("pg_version", number, 0); }\n',
      Gemfile: 'source "https://rubygems.org"\n',
    });
    // The gem is made by the Ruby that the buildpack brings, and pushed as `bundle cache` would leave it.
    assert.equal((await sandbox.stage(['ruby'])).status, 0);
    const made = await sandbox.runToEnd('gem build pg.gemspec >&2 && base64 -w0 pg-1.0.0.gem > /tmp/gem');
    assert.equal(made.status, 0, made.output);
    const gem = Buffer.from(await sandbox.read('tmp/gem'), 'base64');
    await sandbox.pushAgain();
    await sandbox.place({ Gemfile: 'source "https://rubygems.org"\ngem "pg"\n', Procfile: 'web: ruby -v\n' });
    await sandbox.place({ 'vendor/cache/pg-1.0.0.gem': gem });
    const { status, output } = await sandbox.stage(['ruby']);
    assert.equal(status, 0, output);
    assert.match(output, /Gems come from the app's vendor\/cache alone/);
    const seen = await sandbox.runToEnd(`bundle exec ruby -e 'require "pg_version"; puts pg_version'`);
    assert.match(seen.output, /^15\d{4}\n$/);
  });

  it('stages and serves samples/ruby', { skip: skipWithoutGems }, async () => {
    await using sandbox = await warmSandbox();
    await sandbox.placeSample('ruby');
    const { status, output, start } = await sandbox.stage(['ruby']);
    assert.equal(status, 0, output);
    const server = await sandbox.serve(start, { CF_INSTANCE_INDEX: '1' });
    assert.equal(((await (await fetch(server.url)).json()) as Record<string, unknown>)['instance_index'], 1);
    await server.stop();
  });
});

describe('staging by the ruby buildpack fails and says why when', () => {
  const cases: [string, Record<string, string>][] = [
    ['the Gemfile asks for another Ruby', { Gemfile: 'ruby "2.7.8"\n' }],
    ['.ruby-version does', { Gemfile: '', '.ruby-version': 'ruby-2.7.8\n' }],
  ];
  for (const [what, files] of cases) {
    it(what, async () => {
      await using sandbox = await Sandbox.create();
      await sandbox.place(files);
      const { status, output } = await sandbox.stage(['ruby']);
      assert.notEqual(status, 0);
      assert.match(output, /asks for Ruby 2\.7\.8, and this stack \(cflinuxfs4\) has Ruby 3\.1 only/);
    });
  }

  it('Bundler fails, with what it said', { skip }, async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({ Gemfile: 'source "http://127.0.0.1:9"\ngem "nonesuch"\n' });
    const { status, output } = await sandbox.stage(['ruby'], { BUNDLE_RETRY: '0' });
    assert.notEqual(status, 0);
    assert.match(output, /127\.0\.0\.1:9[\s\S]*bundle install failed/);
  });
});
