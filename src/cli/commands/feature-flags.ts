import type { Command } from 'commander';
import { requireUser, type Cf } from '../context.ts';
import { ApiError, CommandError, notFoundError } from '../errors.ts';

interface FeatureFlag {
  name: string;
  enabled: boolean;
}

const word = (isEnabled: boolean): string => (isEnabled ? 'enabled' : 'disabled');

/** What holds for the whole platform: feature flags and variables of every app. */
export function registerFeatureFlagCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('feature-flags')
    .description('Retrieve list of feature flags with status')
    .action(async () => {
      terminal.say(terminal.text`Getting feature flags as ${requireUser(cf)}...`);
      terminal.say();
      const { resources } = await client.list<FeatureFlag>('/v3/feature_flags', { per_page: 5000 });
      const rows = resources.toSorted((a, b) => a.name.localeCompare(b.name));
      terminal.table([['name', 'state'], ...rows.map(({ name, enabled }) => [name, word(enabled)])]);
    });

  program
    .command('feature-flag <FEATURE_FLAG_NAME>')
    .description('Retrieve an individual feature flag with status')
    .action(async (name: string) => {
      terminal.say(terminal.text`Getting info for feature flag ${name} as ${requireUser(cf)}...`);
      terminal.say();
      const flag = await client.get<FeatureFlag>(path(name)).catch((error: unknown) => unknown(error, name));
      terminal.table([
        ['Features', 'State'],
        [flag.name, word(flag.enabled)],
      ]);
    });

  for (const [verb, doing, description, enabled] of [
    ['enable', 'Enabling', 'Allow use of a feature', true],
    ['disable', 'Disabling', 'Prevent use of a feature', false],
  ] as const) {
    program
      .command(`${verb}-feature-flag <FEATURE_FLAG_NAME>`)
      .description(description)
      .action(async (name: string) => {
        terminal.say(`${doing} feature flag ` + terminal.text`${name} as ${requireUser(cf)}...`);
        await client
          .call(path(name), { method: 'PATCH', json: { enabled } })
          .catch((error: unknown) => unknown(error, name));
        terminal.ok();
      });
  }

  for (const [group, alias] of [
    ['running', 'revg'],
    ['staging', 'sevg'],
  ] as const) {
    program
      .command(`${group}-environment-variable-group`)
      .alias(alias)
      .description(`Retrieve the contents of the ${group} environment variable group`)
      .action(async () => {
        terminal.say(`Getting the ${group} environment variable group as ${terminal.name(requireUser(cf))}...\n`);
        const { var: variables } = await client.get<{ var: Record<string, string> }>(
          `/v3/environment_variable_groups/${group}`,
        );
        const entries = Object.entries(variables).toSorted(([a], [b]) => a.localeCompare(b));
        if (entries.length === 0) return terminal.say(`No ${group} environment variable group has been set.`);
        terminal.table([['variable name', 'assigned value'], ...entries]);
      });

    program
      .command(`set-${group}-environment-variable-group <JSON_STRING>`)
      .alias(`s${alias}`)
      .description(`Pass parameters as JSON to create a ${group} environment variable group`)
      .action(async (json: string) => {
        const wanted = readVariables(json);
        terminal.say(
          `Setting the contents of the ${group} environment variable group as ${terminal.name(requireUser(cf))}...`,
        );
        const url = `/v3/environment_variable_groups/${group}`;
        const { var: present } = await client.get<{ var: Record<string, string> }>(url);
        // What is not given goes.
        const gone = Object.fromEntries(Object.keys(present).map((key) => [key, null]));
        await client.call(url, { method: 'PATCH', json: { var: { ...gone, ...wanted } } });
        terminal.ok();
      });
  }
}

const path = (name: string): string => `/v3/feature_flags/${encodeURIComponent(name)}`;

function unknown(error: unknown, name: string): never {
  if (error instanceof ApiError && error.status === 404) throw notFoundError('Feature flag', name);
  throw error;
}

function readVariables(text: string): Record<string, string> {
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new CommandError(
      `Incorrect Usage: Invalid environment variable group provided. Please provide a valid JSON object.`,
      {
        cause: error,
      },
    );
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new CommandError(
      `Incorrect Usage: Invalid environment variable group provided. Please provide a valid JSON object.`,
    );
  return given as Record<string, string>;
}
