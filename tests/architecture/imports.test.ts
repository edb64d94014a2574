import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { describe, it } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const src = join(root, 'src');

const DOORS = ['bus', 'db', 'http', 'blobs', 'archive'];
const COMPONENTS = [
  'router',
  'uaa',
  'cloud-controller',
  'health-manager',
  'dea',
  'warden',
  'loggregator',
  'collector',
  'brokers',
  'ssh-proxy',
];

/** room → rooms it may import; see ARCHITECTURE.md. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  kernel: [],
  contracts: ['kernel'],
  ...Object.fromEntries(DOORS.map((door) => [door, ['kernel', 'contracts', ...DOORS]])),
  ...Object.fromEntries(COMPONENTS.map((component) => [component, ['kernel', 'contracts', ...DOORS]])),
  cli: ['kernel', 'contracts', 'archive'],
  platform: ['kernel', 'contracts', ...DOORS],
};
/** Of a component the platform may know these files alone. */
const COMPONENT_DOORSTEP = new Set(['main.ts', 'config.ts', 'cli.ts', 'remove.ts']);

/** package → places that may import it. */
const ONE_DOOR: Record<string, readonly RegExp[]> = {
  '@nats-io/transport-node': [/^bus\//],
  '@nats-io/jetstream': [/^bus\//],
  '@nats-io/kv': [/^bus\//],
  '@aws-sdk/client-s3': [/^blobs\//],
  yauzl: [/^archive\//],
  'tar-stream': [/^archive\//, /^warden\//],
  ssh2: [/^ssh-proxy\//, /^cli\//],
  koffi: [/^warden\//],
  pino: [/^kernel\//],
  re2js: [/^loggregator\/linear-pattern/],
};

interface Import {
  file: string;
  room: string;
  specifier: string;
}

function sources(): string[] {
  return readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => /\.tsx?$/.test(file));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(src, file), 'utf8');
  const room = file.split('/')[0] ?? '';
  const pattern =
    /^(?:import|export)\s[^'"]*?from\s+['"]([^'"]+)['"]|^import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;
  return [...text.matchAll(pattern)].map((match) => ({
    file,
    room,
    specifier: match[1] ?? match[2] ?? match[3] ?? '',
  }));
}

/** Tests and what only they use: `x.test.ts`, `testing.ts`, `x-testing.ts`, `test-x.ts`, and all below a folder `testing/`. */
const isTest = (file: string): boolean =>
  /\.test\.ts$|(^|\/)testing\/|(^|\/)(.*-)?testing\.ts$|(^|\/)test-[^/]+\.ts$/.test(file);

describe('the architecture', () => {
  const files = sources();
  const imports = files.flatMap(importsOf);

  it('has been seen at all', () => {
    assert.ok(files.length > 50, `only ${files.length} files found`);
    assert.ok(imports.length > 100, `only ${imports.length} imports found`);
  });

  it('lets a room import only what the table allows', () => {
    const wrong = imports.flatMap(({ file, room, specifier }) => {
      if (!specifier.startsWith('#')) return [];
      const [target = '', ...rest] = specifier.slice(1).split('/');
      if (target === room) return [];
      if (isTest(file) && (target === 'testing' || room === 'testing')) return [];
      if (room === 'platform' && COMPONENTS.includes(target) && COMPONENT_DOORSTEP.has(rest.join('/'))) return [];
      if (isTest(file) && DOORS.concat('kernel', 'contracts').includes(target)) return [];
      return MAY_IMPORT[room]?.includes(target) === true ? [] : [`${file} imports ${specifier}`];
    });
    assert.deepEqual(wrong, []);
  });

  it('names rooms by # and never climbs out of one', () => {
    const wrong = imports
      .filter(({ specifier }) => specifier.startsWith('../..'))
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
    assert.deepEqual(wrong, []);
  });

  it('has one door for each package that has one', () => {
    const wrong = imports.flatMap(({ file, specifier }) => {
      const doors = ONE_DOOR[specifier];
      if (doors === undefined || isTest(file)) return [];
      return doors.some((door) => door.test(file)) ? [] : [`${file} imports ${specifier}`];
    });
    assert.deepEqual(wrong, []);
  });

  it('keeps each file under 400 lines', () => {
    const long = files
      .map((file) => ({ file, lines: readFileSync(join(src, file), 'utf8').split('\n').length }))
      .filter(({ lines }) => lines > 400)
      .map(({ file, lines }) => `${file}: ${lines}`);
    assert.deepEqual(long, []);
  });

  it('keeps console out of components', () => {
    const wrong = files.filter(
      (file) => !/^(cli|platform)\//.test(file) && /\bconsole\./.test(readFileSync(join(src, file), 'utf8')),
    );
    assert.deepEqual(wrong, []);
  });
});

describe('the documents', () => {
  const documents = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.md') && !/(^|\/)(node_modules|\.git)\//.test(file),
  );

  it('have links that resolve', () => {
    assert.ok(documents.length > 3, `only ${documents.length} documents found`);
    const broken = documents.flatMap((file) => {
      const text = readFileSync(join(root, file), 'utf8');
      return [...text.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)].flatMap((match) => {
        const target = match[1] ?? '';
        if (/^[a-z]+:/.test(target)) return [];
        try {
          readFileSync(resolve(root, file, '..', target));
          return [];
        } catch (error) {
          return error instanceof Error && 'code' in error && error.code === 'EISDIR'
            ? []
            : [`${relative(root, join(root, file))}: ${target}`];
        }
      });
    });
    assert.deepEqual(broken, []);
  });
});
