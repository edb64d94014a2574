import type { Command } from 'commander';
import { requireUser, type Cf } from '../context.ts';
import type { Named } from '../resources.ts';

interface Buildpack extends Named {
  position: number;
  stack: string | null;
  enabled: boolean;
  locked: boolean;
  state: string;
  filename: string | null;
  lifecycle?: string;
}

/** What the platform offers to every app. */
export function registerPlatformCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('buildpacks')
    .description('List all buildpacks')
    .option('--labels <selector>', 'Selector to filter buildpacks by labels')
    .action(async ({ labels }: { labels?: string }) => {
      terminal.say(`Getting buildpacks as ${terminal.name(requireUser(cf))}...\n`);
      const { resources } = await client.list<Buildpack>('/v3/buildpacks', {
        order_by: 'position',
        per_page: 5000,
        label_selector: labels,
      });
      if (resources.length === 0) return terminal.say('No buildpacks found');
      const rows = resources.map((one) => [
        String(one.position),
        one.name,
        one.stack ?? '',
        String(one.enabled),
        String(one.locked),
        one.state,
        one.filename ?? '',
        one.lifecycle ?? 'buildpack',
      ]);
      terminal.table([['position', 'name', 'stack', 'enabled', 'locked', 'state', 'filename', 'lifecycle'], ...rows]);
    });

  program
    .command('stacks')
    .description(
      'List all stacks (a stack is a pre-built file system, including an operating system, that can run apps)',
    )
    .option('--labels <selector>', 'Selector to filter stacks by labels')
    .action(async ({ labels }: { labels?: string }) => {
      terminal.say(`Getting stacks as ${terminal.name(requireUser(cf))}...\n`);
      const { resources } = await client.list<Named & { description: string | null }>('/v3/stacks', {
        order_by: 'name',
        per_page: 5000,
        label_selector: labels,
      });
      if (resources.length === 0) return terminal.say('No stacks found.');
      terminal.table([['name', 'description'], ...resources.map((stack) => [stack.name, stack.description ?? ''])]);
    });
}
