import type { Command } from 'commander';
import { mustFind, requireUser, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
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

interface Stack extends Named {
  description: string | null;
  /** Older platforms do not tell. */
  state?: string;
  state_reason?: string | null;
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
      'List all stacks (a stack is a pre-built file system, including an operating system, that can run apps) and current state',
    )
    .option('--labels <selector>', 'Selector to filter stacks by labels')
    .action(async ({ labels }: { labels?: string }) => {
      terminal.say(`Getting stacks as ${terminal.name(requireUser(cf))}...\n`);
      const { resources } = await client.list<Stack>('/v3/stacks', {
        order_by: 'name',
        per_page: 5000,
        label_selector: labels,
      });
      if (resources.length === 0) return terminal.say('No stacks found.');
      const rows = resources.map((stack) => [stack.name, stack.description ?? '', stack.state ?? '']);
      terminal.table([['name', 'description', 'state'], ...rows]);
    });

  program
    .command('stack <STACK_NAME>')
    .description(
      'Show information for a stack (a stack is a pre-built file system, including an operating system, that can run apps) and current state',
    )
    .option('--guid', "The stack's guid alone")
    .action(async (name: string, flags: { guid?: true }) => {
      if (!flags.guid) terminal.say(terminal.text`Getting info for stack ${name} as ${requireUser(cf)}...\n`);
      const stack = await findStack(cf, name);
      if (flags.guid) return terminal.say(stack.guid);
      showStack(cf, stack);
    });

  program
    .command('update-stack <STACK_NAME>')
    .description('Transition a stack between the defined states')
    .requiredOption('--state <state>', 'active, restricted, deprecated or disabled')
    .option('--reason <text>', 'Why, for people to read')
    .action(async (name: string, flags: { state: string; reason?: string }) => {
      const state = flags.state.toUpperCase();
      if (!['ACTIVE', 'RESTRICTED', 'DEPRECATED', 'DISABLED'].includes(state))
        throw new CommandError(
          `Incorrect Usage: Invalid state: ${flags.state}. Must be one of: active, restricted, deprecated, disabled`,
        );
      terminal.say(terminal.text`Updating stack ${name} as ${requireUser(cf)}...`);
      const { guid } = await findStack(cf, name);
      const json = { state, ...(flags.reason !== undefined && { state_reason: flags.reason }) };
      const { body } = await client.call<Stack>(`/v3/stacks/${guid}`, { method: 'PATCH', json });
      terminal.ok();
      showStack(cf, body);
    });
}

async function findStack(cf: Cf, name: string): Promise<Stack> {
  return await mustFind<Stack>(cf, { kind: 'Stack', path: '/v3/stacks' }, name);
}

function showStack({ terminal }: Cf, { name, description, state, state_reason }: Stack): void {
  terminal.facts([
    ['name:', name],
    ['description:', description ?? ''],
    ...(state === undefined ? [] : ([['state:', state]] as const)),
    ...(state_reason ? ([['reason:', state_reason]] as const) : []),
  ]);
}
