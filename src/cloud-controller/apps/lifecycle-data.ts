import { unprocessable } from '#contracts/cf-errors.ts';
import { isBuildpackUrl } from '../staging/staging-message.ts';
import type { Db } from '../tables.ts';
import { withoutCredentials } from './presenter.ts';

/** Errors: 422 when there is no such stack. */
export async function checkStack(db: Db, name: string | null): Promise<void> {
  if (name === null) return;
  const found = await db.selectFrom('stacks').select('guid').where('name', '=', name).executeTakeFirst();
  if (!found) throw unprocessable('Stack must be an existing stack');
}

/** Errors: 422 for the first that is neither the name of an installed buildpack nor a URL of one. */
export async function checkBuildpacks(db: Db, names: readonly string[]): Promise<void> {
  const installed = names.filter((name) => !isBuildpackUrl(name));
  if (installed.length === 0) return;
  const rows = await db.selectFrom('buildpacks').select('name').where('name', 'in', installed).execute();
  const known = new Set(rows.map((row) => row.name));
  const unknown = installed.find((name) => !known.has(name));
  if (unknown === undefined) return;
  throw unprocessable(
    `Buildpack "${withoutCredentials(unknown)}" must be an existing admin buildpack or a valid git URI`,
  );
}
