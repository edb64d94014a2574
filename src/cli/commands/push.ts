import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Cf } from '../context.ts';
import { push, type PushFlags } from '../push/push.ts';

const wholeNumber = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('must be a whole number');
  return Number(text);
};
const collect = (value: string, all: string[] | undefined): string[] => [...(all ?? []), value];

export function registerPushCommand(program: Command, cf: Cf): void {
  program
    .command('push')
    .alias('p')
    .description('Push a new app or sync changes to an existing app')
    .argument('[APP_NAME]')
    .option(
      '-b, --buildpack <buildpack>',
      "Custom buildpack by name or Git URL, with '#branch' for a branch or tag; several are used in order",
      collect,
    )
    .option('-c, --start-command <command>', 'Startup command, set to null to reset to default start command')
    .option('-f, --manifest <path>', 'Path to manifest')
    .option('--no-manifest', 'Ignore manifest file')
    .option('-i, --instances <n>', 'Number of instances', wholeNumber)
    .option('-k, --disk <size>', 'Disk limit (e.g. 256M, 1024M, 1G)')
    .option('-m, --memory <size>', 'Memory limit (e.g. 256M, 1024M, 1G)')
    .option(
      '-l, --log-rate-limit <rate>',
      'Log rate limit per second, in bytes (e.g. 128B, 4K, 1M). -l=-1 represents unlimited',
    )
    .option('-o, --docker-image <image>', 'Docker image to use (e.g. user/docker-image-name)')
    .option(
      '--docker-username <name>',
      'Repository username; used with password from environment variable CF_DOCKER_PASSWORD',
    )
    .option('-p, --path <path>', 'Path to app directory or to a zip file of the contents of the app directory')
    .option('-s, --stack <stack>', 'Stack to use')
    .option(
      '-t, --app-start-timeout <seconds>',
      'Time allowed to elapse between starting up an app and its first healthy response',
      wholeNumber,
    )
    .addOption(
      new Option(
        '-u, --health-check-type <type>',
        "Application health check type; 'http' requires a valid endpoint",
      ).choices(['process', 'port', 'http']),
    )
    .option('--endpoint <path>', 'Path on the app for an HTTP health check')
    .option('--no-route', 'Do not map a route to this app')
    .option('--random-route', 'Create a random route for this app')
    .option('--no-start', 'Do not stage and start the app after pushing')
    .option('--no-wait', 'Exit when the first instance of the web process is healthy')
    .option('--task', 'Push an app that is used only to execute tasks')
    .addOption(new Option('--strategy <strategy>', 'Deployment strategy').choices(['rolling', 'canary', 'null']))
    .option('--max-in-flight <n>', 'Instances started at a time with --strategy', wholeNumber)
    .option('--var <pair>', 'Variable for the manifest, NAME=VALUE', collect, [])
    .option('--vars-file <path>', 'File of variables for the manifest', collect, [])
    .action(async (name: string | undefined, flags: PushFlags) => await push(cf, name, flags));
}
