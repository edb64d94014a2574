import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { stringify } from 'yaml';
import { listZip } from '#archive/unpack-zip.ts';
import { packZip } from '#archive/pack-zip.ts';
import { eventually } from '#testing/eventually.ts';
import { FakeDea, type FakeDeaOptions } from '#testing/fake-dea.ts';
import { type Answer, TestCloudController, type TestUser } from './testing.ts';

/** A cloud controller under test with an organization, a space and DEAs, spoken to as the cf CLI does. */
export class TestApps implements AsyncDisposable {
  readonly cc: TestCloudController;
  readonly space_guid: string;
  readonly organization_guid: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: {
    cc: TestCloudController;
    space_guid: string;
    organization_guid: string;
    stack: AsyncDisposableStack;
  }) {
    this.cc = parts.cc;
    this.space_guid = parts.space_guid;
    this.organization_guid = parts.organization_guid;
    this.#stack = parts.stack;
  }

  static async start(change: Record<string, unknown> = {}): Promise<TestApps> {
    await using stack = new AsyncDisposableStack();
    const cc = stack.use(await TestCloudController.start({ limits: { resource_min_bytes: 1 }, ...change }));
    const { admin } = cc;
    const organization = await admin.post('/v3/organizations', { name: 'o' });
    const space = await admin.post('/v3/spaces', {
      name: 's',
      relationships: { organization: { data: { guid: organization.guid } } },
    });
    await installBuildpack(cc);
    const guids = { space_guid: space.guid, organization_guid: organization.guid };
    return new TestApps({ cc, ...guids, stack: stack.move() });
  }

  get admin(): TestUser {
    return this.cc.admin;
  }

  /** A simulated DEA, once the cloud controller has heard of it. */
  async dea(options: Partial<FakeDeaOptions> = {}): Promise<FakeDea> {
    const { internal_url: url, internal_api } = this.cc.config;
    return this.#stack.use(
      await FakeDea.start({ nats_url: this.cc.nats.url, cc: { url, ...internal_api }, ...options }),
    );
  }

  /** The guid of the manifest's first app. */
  async applyManifest(manifest: { applications: ({ name: string } & Record<string, unknown>)[] }): Promise<string> {
    const accepted = await this.admin.request(
      'POST',
      `/v3/spaces/${this.space_guid}/actions/apply_manifest`,
      stringify(manifest),
      { 'content-type': 'application/x-yaml' },
    );
    const job = await this.admin.job(accepted);
    if (job.at('state') !== 'COMPLETE') throw new Error(job.text);
    const name = encodeURIComponent(manifest.applications[0]?.name ?? '');
    const found = await this.admin.get(`/v3/apps?names=${name}&space_guids=${this.space_guid}`);
    return found.string('resources.0.guid');
  }

  async createPackage(app_guid: string): Promise<string> {
    const created = await this.admin.post('/v3/packages', {
      type: 'bits',
      relationships: { app: { data: { guid: app_guid } } },
    });
    return created.guid;
  }

  async uploadBits(package_guid: string, parts: { bits?: Buffer | undefined; resources?: unknown[] }): Promise<Answer> {
    const form = new FormData();
    form.set('resources', JSON.stringify(parts.resources ?? []));
    if (parts.bits) form.set('bits', new Blob([new Uint8Array(parts.bits)]), 'package.zip');
    const encoded = new Response(form);
    return await this.admin.request(
      'POST',
      `/v3/packages/${package_guid}/upload`,
      Buffer.from(await encoded.arrayBuffer()),
      { 'content-type': encoded.headers.get('content-type') ?? '' },
    );
  }

  /** A READY package of these files and of resources that the platform has. */
  async upload(
    app_guid: string,
    files: Record<string, string> | undefined,
    resources: unknown[] = [],
  ): Promise<string> {
    const package_guid = await this.createPackage(app_guid);
    const answer = await this.uploadBits(package_guid, { bits: files && (await zipOf(files)), resources });
    if (answer.at('state') !== 'READY') throw new Error(answer.text);
    return package_guid;
  }

  /** The names and modes in a package. */
  async zipEntries(package_guid: string): Promise<Record<string, number>> {
    return await inFolder(async (folder) => {
      const response = await fetch(`${this.cc.url}/v3/packages/${package_guid}/download`, {
        headers: { authorization: `bearer ${this.admin.token}` },
      });
      const path = join(folder, 'package.zip');
      await writeFile(path, Buffer.from(await response.arrayBuffer()));
      return Object.fromEntries((await listZip(path)).map((entry) => [entry.path, entry.mode]));
    });
  }

  /** The build at its end. */
  async stage(package_guid: string, options: Record<string, unknown> = {}): Promise<Answer> {
    const build = await this.admin.post('/v3/builds', { package: { guid: package_guid }, ...options });
    if (build.status !== 201) throw new Error(build.text);
    return await eventually('the build ends', async () => {
      const found = await this.admin.get(`/v3/builds/${build.guid}`);
      return found.at('state') !== 'STAGING' && found;
    });
  }

  async startWith(app_guid: string, droplet_guid: string): Promise<void> {
    const assigned = await this.admin.patch(`/v3/apps/${app_guid}/relationships/current_droplet`, {
      data: { guid: droplet_guid },
    });
    if (assigned.status !== 200) throw new Error(assigned.text);
    const restarted = await this.admin.post(`/v3/apps/${app_guid}/actions/restart`);
    if (restarted.status !== 200) throw new Error(restarted.text);
  }

  /** A droplet of an app, staged from these files. */
  async stagedDroplet(app_guid: string, files: Record<string, string> = { a: '1' }): Promise<string> {
    const build = await this.stage(await this.upload(app_guid, files));
    return build.string('droplet.guid');
  }

  /** An app that was pushed and started: its guid. */
  async pushed(name: string, files: Record<string, string> = { a: '1' }, settings: object = {}): Promise<string> {
    const app_guid = await this.applyManifest({ applications: [{ name, memory: '64M', ...settings }] });
    await this.startWith(app_guid, await this.stagedDroplet(app_guid, files));
    return app_guid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function zipOf(files: Record<string, string>): Promise<Buffer> {
  return await inFolder(async (folder) => {
    const path = join(folder, 'bits.zip');
    const entries = Object.entries(files).map(([name, text]) => ({
      path: name,
      kind: 'file' as const,
      mode: 0o644,
      source: () => Readable.from([text]),
    }));
    await packZip(entries, path);
    return await readFile(path);
  });
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'ingot-test-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Staging needs a buildpack to name; its bits are never read by a DEA that is simulated. */
async function installBuildpack(cc: TestCloudController): Promise<void> {
  await cc.database.query
    .insertInto('buildpacks')
    .values({
      guid: 'buildpack-for-tests',
      name: 'test_buildpack',
      stack: null,
      state: 'READY',
      position: 1,
      filename: 'test.zip',
      checksum: createHash('sha256').update('').digest('hex'),
    })
    .execute();
}
