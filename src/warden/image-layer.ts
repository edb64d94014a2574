import { existsSync, rmSync, statSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WardenError } from '#http/warden-client.ts';
import { makeWhiteout, setExtendedAttribute } from './syscalls.ts';

/** As the OCI image specification names them: `.wh.NAME` takes NAME of the layers below away, the other all of the folder. */
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/**
 * Turns the whiteouts of a layer that was unpacked as it came into those that the overlay file system knows, in place: once done,
 * and for a layer without any, it changes nothing. Errors: WardenError path_not_found.
 */
export async function convertWhiteouts(folder: string): Promise<void> {
  if (!folder.startsWith('/') || !existsSync(folder) || !statSync(folder).isDirectory()) {
    throw new WardenError('path_not_found', `there is no folder ${folder}`);
  }
  await convertFolder(folder);
}

async function convertFolder(folder: string): Promise<void> {
  // Names are bytes: an image may hold some that are no UTF-8.
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      await convertFolder(path);
    } else if (entry.name === OPAQUE) {
      setExtendedAttribute(folder, 'trusted.overlay.opaque', 'y');
      await rm(path);
    } else if (entry.name.startsWith(WHITEOUT)) {
      const hidden = join(folder, entry.name.slice(WHITEOUT.length));
      // What the layer itself brings under that name stands.
      if (!existsSync(hidden)) makeWhiteout(hidden);
      rmSync(path);
    }
  }
}
