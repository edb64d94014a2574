import { readFileSync, writeFileSync } from 'node:fs';

const BEGIN = (name: string): string => `# begin ${name}: system hosts of this platform, removed by "ingot down"`;
const END = (name: string): string => `# end ${name}`;

/** The text of a hosts file with our block of `hosts` in it, or without it when there are none; all else stays as it is. */
export function withHosts(text: string, name: string, hosts: readonly string[]): string {
  const lines = text.split('\n');
  const begin = lines.indexOf(BEGIN(name));
  const end = lines.indexOf(END(name));
  if (begin >= 0 && end >= begin) lines.splice(begin, end - begin + 1);
  while (lines.at(-1) === '') lines.pop();
  if (hosts.length > 0) lines.push(BEGIN(name), `127.0.0.1 ${hosts.join(' ')}`, END(name));
  return `${lines.join('\n')}\n`;
}

/** Lists or removes the system hosts for programs that ask only the resolver. */
export function editHostsFile(name: string, hosts: readonly string[], path = '/etc/hosts'): void {
  const text = readFileSync(path, 'utf8');
  const edited = withHosts(text, name, hosts);
  // Written in place: /etc/hosts is often a mount of its own, which cannot be replaced by renaming.
  if (edited !== text) writeFileSync(path, edited);
}
