import type { Command } from 'commander';
import { WardenClient } from '#http/warden-client.ts';
import { destroyContainer, enterContainer, listContainers, runInContainer, showContainer } from '#warden/cli.ts';
import type { Home } from './home.ts';
import { runningPlan } from './reach.ts';

/** `ingot warden …`: what an operator does to the containers of this machine. */
export function registerWardenCommands(program: Command, home: Home): void {
  const warden = program.command('warden').description('the containers of this machine, for its operator');
  const withClient = async <T>(work: (client: WardenClient) => Promise<T>): Promise<T> => {
    // Says so when nothing is up, before a socket that is not there does.
    runningPlan(home);
    using client = new WardenClient({ socket_path: home.wardenSocket });
    return await work(client);
  };
  const asUser = (flags: { root?: true }): 'root' | 'vcap' => (flags.root ? 'root' : 'vcap');

  warden
    .command('list')
    .description('a line for each container')
    .action(async () => await withClient(async (client) => await listContainers(client, process.stdout)));

  warden
    .command('info')
    .description('all that is known of one')
    .argument('<handle>')
    .action(
      async (handle: string) => await withClient(async (client) => await showContainer(client, handle, process.stdout)),
    );

  warden
    .command('run')
    .description('run a command in one')
    .argument('<handle>')
    .argument('<command...>')
    .option('--root', "as the container's root")
    .passThroughOptions()
    .action(async (handle: string, args: string[], flags: { root?: true }) => {
      process.exitCode = await withClient(
        async (client) =>
          await runInContainer(
            client,
            { handle, args: args[0] === '--' ? args.slice(1) : args, user: asUser(flags) },
            process,
          ),
      );
    });

  warden
    .command('enter')
    .description('a shell in one')
    .argument('<handle>')
    .option('--root', "as the container's root")
    .action(async (handle: string, flags: { root?: true }) => {
      const { settings } = runningPlan(home);
      process.exitCode = await enterContainer(
        { name: settings.name, depot: home.warden },
        { handle, user: asUser(flags) },
      );
    });

  warden
    .command('destroy')
    .description('end one, whatever runs in it')
    .argument('<handle>')
    .action(async (handle: string) => await withClient(async (client) => await destroyContainer(client, handle)));
}
