/**
 * Where this machine's apt gets Debian's `main` from, as text in apt's deb822 form, for one suite and its updates and
 * security suites. So the stack comes from the mirror that is known to work here. Sources of others are left out.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

interface Source {
  uris: string;
  suites: string[];
  components: string[];
  signed_by: string | undefined;
}

/** Empty when apt here has no source of Debian's `main`. `etc` is `/etc` but in tests. */
export async function debianSources(suite: string, etc = '/etc'): Promise<string> {
  const hostSuite = await hostCodename(etc);
  const sources = (await readSources(join(etc, 'apt'))).flatMap((source) => {
    if (!source.components.includes('main')) return [];
    // A newer or older Debian's mirror has our suite as well.
    const suites = source.suites
      .map((name) => (name === 'stable' || name === hostSuite ? suite : name.replace(`${hostSuite}-`, `${suite}-`)))
      .filter((name) => [suite, `${suite}-updates`, `${suite}-security`].includes(name));
    return suites.length === 0 ? [] : [{ ...source, suites }];
  });
  return sources.map(format).join('\n');
}

function format(source: Source): string {
  const lines = ['Types: deb', `URIs: ${source.uris}`, `Suites: ${source.suites.join(' ')}`, 'Components: main'];
  if (source.signed_by !== undefined) lines.push(`Signed-By: ${source.signed_by}`);
  return `${lines.join('\n')}\n`;
}

async function hostCodename(etc: string): Promise<string> {
  const text = await readFile(join(etc, 'os-release'), 'utf8').catch(() => '');
  return /^VERSION_CODENAME="?([a-z]+)/m.exec(text)?.[1] ?? 'bookworm';
}

async function readSources(apt: string): Promise<Source[]> {
  const names = await readdir(join(apt, 'sources.list.d')).catch(() => []);
  const paths = ['sources.list', ...names.map((name) => join('sources.list.d', name))];
  const found: Source[] = [];
  for (const path of paths) {
    const text = await readFile(join(apt, path), 'utf8').catch(() => '');
    if (path.endsWith('.list')) found.push(...parseOneLine(text));
    else if (path.endsWith('.sources')) found.push(...parseDeb822(text));
  }
  return found;
}

/** `deb [signed-by=/path arch=amd64] URI suite component…`; see sources.list(5). */
export function parseOneLine(text: string): Source[] {
  return text.split('\n').flatMap((line) => {
    const match = /^deb\s+(?:\[(?<options>[^\]]*)\]\s+)?(?<uri>\S+)\s+(?<suite>\S+)\s+(?<components>[^#]+)/.exec(
      line.trim(),
    );
    if (!match?.groups) return [];
    const { options = '', uri = '', suite = '', components = '' } = match.groups;
    const signed_by = /(?:^|\s)signed-by=(\S+)/.exec(options)?.[1];
    return [{ uris: uri, suites: [suite], components: components.trim().split(/\s+/), signed_by }];
  });
}

/** Paragraphs of `Field: value`, where a line that starts with a blank goes on with the field above it. */
export function parseDeb822(text: string): Source[] {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  return lines
    .join('\n')
    .split(/\n[ \t]*\n/)
    .flatMap((paragraph) => {
      const fields = new Map<string, string>();
      for (const field of paragraph.split(/\n(?![ \t])/)) {
        const colon = field.indexOf(':');
        if (colon > 0) fields.set(field.slice(0, colon).trim().toLowerCase(), field.slice(colon + 1).trim());
      }
      const words = (name: string) => fields.get(name)?.split(/\s+/) ?? [];
      if (!words('types').includes('deb') || fields.get('enabled')?.toLowerCase() === 'no') return [];
      return [
        {
          uris: words('uris').join(' '),
          suites: words('suites'),
          components: words('components'),
          signed_by: fields.get('signed-by'),
        },
      ];
    });
}
