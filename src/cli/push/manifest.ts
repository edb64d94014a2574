import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, parseDocument, stringify, visit, type Document } from 'yaml';
import { CommandError } from '../errors.ts';

/** One app of a manifest: what we read of it; everything else goes to the API as it is. */
export interface ManifestApp {
  name: string;
  path?: string;
  'no-route'?: boolean;
  'random-route'?: boolean;
  [field: string]: unknown;
}

export interface Manifest {
  /** The file, when there is one. */
  file: string | undefined;
  apps: ManifestApp[];
  /** Fields beside `applications`, such as `version`. */
  rest: Record<string, unknown>;
}

/** The manifest to use: the one named, else manifest.yml or manifest.yaml of the folder, else none. */
export function findManifest(asked: string | undefined, folder: string): string | undefined {
  const look = (path: string): string | undefined =>
    ['manifest.yml', 'manifest.yaml'].map((name) => join(path, name)).find((file) => existsSync(file));
  if (asked === undefined) return look(folder);
  const path = resolve(asked);
  if (!existsSync(path)) throw new CommandError(`The specified path '${path}' does not exist.`);
  if (!statSync(path).isDirectory()) return path;
  const found = look(path);
  if (found === undefined) throw new CommandError(`Could not find 'manifest.yml' file in ${path}`);
  return found;
}

/**
 * Reads a manifest and puts variables in. `path` of an app is taken relative to the manifest's folder.
 * Errors: CommandError with line and column for broken YAML, and for what is not a manifest.
 */
export function readManifest(file: string, variables: ReadonlyMap<string, unknown>): Manifest {
  const lines = new LineCounter();
  const document = parseDocument(readFileSync(file, 'utf8'), { lineCounter: lines, merge: true });
  const [fault] = document.errors;
  if (fault) {
    const { line, col } = lines.linePos(fault.pos[0]);
    throw new CommandError(
      `The manifest ${file} is not valid YAML, at line ${line}, column ${col}: ${fault.message.split('\n')[0]?.replace(/ at line .*$/, '')}`,
    );
  }
  substitute(document, variables);
  if (!isMap(document.contents))
    throw new CommandError(`The manifest ${file} must be a map with the key 'applications'.`);
  const applications = document.contents.get('applications', true);
  if (!isSeq(applications)) throw new CommandError(`The manifest ${file} must have a list 'applications'.`);
  const { applications: list, ...rest } = document.toJS() as { applications: unknown[] } & Record<string, unknown>;
  const apps = list.map((app, n) => checkApp(app, `${file}, application ${n + 1}`));
  for (const app of apps) if (app.path !== undefined) app.path = resolve(dirname(file), app.path);
  return { file, apps, rest };
}

function checkApp(app: unknown, where: string): ManifestApp {
  if (typeof app !== 'object' || app === null || Array.isArray(app)) throw new CommandError(`${where}: must be a map.`);
  const name = 'name' in app ? app.name : '';
  if (typeof name !== 'string') throw new CommandError(`${where}: 'name' must be text.`);
  const path = 'path' in app ? app.path : undefined;
  if (path !== undefined && typeof path !== 'string') throw new CommandError(`${where}: 'path' must be text.`);
  return { ...app, name };
}

/** Replaces `((name))`: a scalar that is nothing else takes the variable's own type. */
function substitute(document: Document, variables: ReadonlyMap<string, unknown>): void {
  const missing = new Set<string>();
  visit(document, {
    Scalar: (_key, node) => {
      if (typeof node.value !== 'string') return undefined;
      const whole = /^\(\(([-/.\w]+)\)\)$/.exec(node.value);
      if (whole?.[1] !== undefined && variables.has(whole[1])) return document.createNode(variables.get(whole[1]));
      node.value = node.value.replace(/\(\(([-/.\w]+)\)\)/g, (text, name: string) => {
        if (variables.has(name)) return String(variables.get(name));
        missing.add(name);
        return text;
      });
      return undefined;
    },
  });
  if (missing.size > 0) throw new CommandError(`Expected to find variables: ${[...missing].join(', ')}`);
}

/** Variables of `--var NAME=VALUE` and `--vars-file`, the former stronger. Errors: CommandError. */
export function readVariables(pairs: readonly string[], files: readonly string[]): Map<string, unknown> {
  const variables = new Map<string, unknown>();
  for (const file of files) {
    if (!existsSync(file)) throw new CommandError(`The specified path '${file}' does not exist.`);
    const document = parseDocument(readFileSync(file, 'utf8'));
    if (document.errors.length > 0 || !isMap(document.contents))
      throw new CommandError(`The variables file ${file} must be a YAML map.`);
    for (const { key, value } of document.contents.items)
      variables.set(String(isScalar(key) ? key.value : key), isScalar(value) ? value.value : value);
  }
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new CommandError(`invalid argument for flag '--var' (expected NAME=VALUE): ${pair}`);
    variables.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return variables;
}

/** The manifest as the API gets it: `path` is of this machine only. */
export function manifestYaml(manifest: Manifest): string {
  const applications = manifest.apps.map(({ path: _path, ...app }) => app);
  return stringify({ ...manifest.rest, applications }, { aliasDuplicateObjects: false });
}
