import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { packZip, zipSourcesOf } from '#archive/pack-zip.ts';
import { describeError } from '#kernel/errors.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { storeBits } from './bits.ts';
import { type Buildpack, findBuildpackNamed, insertBuildpack } from './store.ts';

type Wanted = Deps['config']['buildpacks'][number];

/**
 * Brings in the buildpacks that the configuration names, zips or folders, in its order behind those that are there. One that
 * is there gets the new bits if they differ; a locked one stays as it is. One that fails is told of and does not stop others.
 */
export async function installBuildpacks(deps: Deps): Promise<void> {
  const { config, db, log } = deps;
  for (const wanted of config.buildpacks) {
    try {
      const found = await findBuildpackNamed(db, wanted);
      if (found?.locked) continue;
      const buildpack = found ?? (await make(deps, wanted));
      await install(deps, buildpack, wanted);
    } catch (error) {
      log.error({ buildpack: wanted.name, file: wanted.file, error: describeError(error) }, 'buildpack not installed');
    }
  }
}

async function make({ db }: Deps, { name, stack }: Wanted): Promise<Buildpack> {
  const position = Number.MAX_SAFE_INTEGER;
  return await inTransaction(db, async (trx) => await insertBuildpack(trx, { name, stack, position }));
}

async function install(deps: Deps, buildpack: Buildpack, { name, file }: Wanted): Promise<void> {
  const { log } = deps;
  if (!(await stat(file)).isDirectory()) {
    await storeBits(deps, buildpack, { path: file, filename: basename(file) });
  } else {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-buildpack-'));
    try {
      const path = join(folder, `${name}.zip`);
      // The same tree gives the same zip, so that an unchanged buildpack keeps its checksum, and DEAs their copy.
      await packZip(await zipSourcesOf(file), path);
      await storeBits(deps, buildpack, { path, filename: `${name}.zip` });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  log.info({ buildpack: name }, 'buildpack installed');
}
