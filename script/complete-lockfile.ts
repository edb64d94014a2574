/**
 * `script/complete-lockfile.ts [--check]`: an npm mirror that lacks packages of other platforms makes npm leave them out of
 * package-lock.json, and `npm ci` then refuses the lockfile as not in sync. This names them there as npm does, by what their
 * names say of system and processor, so that they are known, and passed over on every machine that is not theirs.
 */
import { readFileSync, writeFileSync } from 'node:fs';

interface Entry {
  version?: string;
  cpu?: string[];
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const path = new URL('../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(path, 'utf8')) as { packages: Record<string, Entry> };
const platform =
  /(?<os>aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32)-(?<cpu>[a-z0-9]+)(?:-(?<abi>[a-z]+))?$/;

/** Whether a package at `from` finds `name` in its own node_modules or in one above it. */
function resolves(from: string, name: string): boolean {
  for (let place = from; ; place = place.slice(0, Math.max(0, place.lastIndexOf('/node_modules/')))) {
    if (`${place === '' ? '' : `${place}/`}node_modules/${name}` in lock.packages) return true;
    if (place === '') return false;
  }
}

const added: string[] = [];
for (const [from, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (resolves(from, name)) continue;
    const { os, cpu, abi } = platform.exec(name)?.groups ?? {};
    if (os === undefined || cpu === undefined || !/^\d/.test(version)) {
      throw new Error(`${from} may use ${name} ${version}, which this registry lacks, and its name names no platform`);
    }
    added.push(name);
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...(entry.dev ? { dev: true } : {}),
      ...(os === 'linux' && abi !== undefined ? { libc: [abi.startsWith('musl') ? 'musl' : 'glibc'] } : {}),
      optional: true,
      os: [os],
    };
  }
}

if (added.length === 0) {
  console.log('package-lock.json names every optional package');
} else if (process.argv.includes('--check')) {
  console.error(`package-lock.json lacks ${added.join(', ')}: run script/complete-lockfile.ts`);
  process.exitCode = 1;
} else {
  const sorted = Object.entries(lock.packages).toSorted(([a], [b]) => a.localeCompare(b, 'en'));
  writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`);
  console.log(`added ${added.length} packages of other platforms to package-lock.json`);
}
