import { COMMAND_GROUPS } from './command-groups.ts';
import { LEFT_OUT } from './left-out.ts';

export interface CommandRow {
  group: string;
  name: string;
  state: 'works' | 'untested' | 'left out' | 'missing';
  /** An end-to-end test that runs it, or why it is not there. */
  remark: string;
}

/** The test that goes through the commands one by one. */
const EVERY = 'cli-commands';
const PLUGINS = ['PLUGINS:', Object.keys(LEFT_OUT).filter((name) => /plugin/.test(name))] as const;

/**
 * Each command of the public CLI, then our own, with its state. `registered` are our commands with their aliases, `tests` the
 * names of end-to-end tests with their text.
 */
export function commandRows(
  registered: ReadonlyMap<string, readonly string[]>,
  tests: ReadonlyMap<string, string>,
): CommandRow[] {
  const groups = [...COMMAND_GROUPS, PLUGINS].map(
    ([title, rows]) => [title.replace(/:$/, ''), rows.flatMap((row) => row.split(' '))] as const,
  );
  const published = new Set(groups.flatMap(([, names]) => names));
  const own = ['BEYOND THE PUBLIC CLI', [...registered.keys()].filter((name) => !published.has(name)).sort()] as const;
  return [...groups, own].flatMap(([group, names]) =>
    names.map((name): CommandRow => {
      const reason = LEFT_OUT[name];
      const aliases = registered.get(name);
      if (!aliases) return { group, name, state: reason === undefined ? 'missing' : 'left out', remark: reason ?? '' };
      const runIn = [...tests].flatMap(([file, text]) =>
        [name, ...aliases].some((word) => runs(text, word)) ? [file] : [],
      );
      // One is enough to read on, and the page does not change with every test that pushes an app.
      const shown = runIn.includes(EVERY) ? EVERY : runIn[0];
      return { group, name, state: runIn.length > 0 ? 'works' : 'untested', remark: shown ?? '' };
    }),
  );
}

/** Whether a test's text has the command as the first word of what `cf` is called with: `'push …'`, `['push', …]`. */
function runs(text: string, name: string): boolean {
  return new RegExp(`['"\`]${name}(?:['"\` ]|$)`, 'm').test(text);
}

/** docs/cf-commands.md. */
export function commandsPage(rows: readonly CommandRow[]): string {
  const count = (state: CommandRow['state']): number => rows.filter((row) => row.state === state).length;
  return [
    '# `cf`, command by command',
    '',
    'Made by `src/cli/commands-page.test.ts` from the list of the public CLI (`cf help -a`), the commands that the bundled `cf` has,',
    'and the end-to-end tests that run each of them on a whole platform; `npm run docs` writes it anew. The public CLI itself',
    'speaks to the same [API](api-endpoints.md).',
    '',
    `${count('works')} work, ${count('untested')} are there and run by no end-to-end test, ${count('left out')} are left out.`,
    '',
    '| group | command | state | run by, or why not |',
    '| --- | --- | --- | --- |',
    ...rows.map(({ group, name, state, remark }) => `| ${group} | \`cf ${name}\` | ${state} | ${remark} |`),
    '',
  ].join('\n');
}
