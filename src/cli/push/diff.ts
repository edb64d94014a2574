import type { Cf } from '../context.ts';
import { textOf } from '../terminal.ts';

interface DiffItem {
  op: 'add' | 'remove' | 'replace';
  path: string;
  value?: unknown;
  was?: unknown;
}

/** What the manifest changes, as the API sees it, values of the environment left out if so wished. */
export async function showDiff(
  { client, terminal }: Cf,
  space_guid: string,
  yaml: string,
  hidesEnv = false,
): Promise<void> {
  const headers = { 'content-type': 'application/x-yaml' };
  const { body } = await client.call<{ diff: DiffItem[] }>(`/v3/spaces/${space_guid}/manifest_diff`, {
    method: 'POST',
    body: yaml,
    headers,
  });
  terminal.say('\nUpdating with these attributes...');
  for (const { op, path, value, was } of body.diff) {
    const shown = (of: unknown): string => (hidesEnv && /\/env(\/|$)/.test(path) ? '<redacted>' : textOf(of));
    if (op !== 'add') terminal.say(terminal.style('red', `- ${path.replace(/^\//, '')}: ${shown(was)}`));
    if (op !== 'remove') terminal.say(terminal.style('green', `+ ${path.replace(/^\//, '')}: ${shown(value)}`));
  }
}
