import type { Command } from 'commander';
import { findApp, whereAndWho, type Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import { bytesOrUnlimited, megabytes, wholeNumber } from '../quantities.ts';
import type { App } from '../resources.ts';
import { listDate } from '../terminal.ts';

interface Task {
  guid: string;
  sequence_id: number;
  name: string;
  state: string;
  created_at: string;
  /** Hidden from who may not see it, and from lists. */
  command?: string;
  memory_in_mb: number;
  disk_in_mb: number;
  log_rate_limit_in_bytes_per_second: number;
  result: { failure_reason: string | null };
}

interface TaskFlags {
  command?: string;
  k?: string;
  l?: string;
  m?: string;
  name?: string;
  process?: string;
  wait?: true;
}

export function registerTaskCommands(program: Command, cf: Cf): void {
  const { terminal, client } = cf;

  program
    .command('run-task <APP_NAME>')
    .alias('rt')
    .description('Run a one-off task on an app')
    .option('-c, --command <command>', 'Command to run')
    .option('-k <disk>', 'Disk limit (e.g. 256M, 1024M, 1G)')
    .option('-l <rate>', 'Log rate limit per second, in bytes (e.g. 128B, 4K, 1M); -1 is unlimited')
    .option('-m <memory>', 'Memory limit (e.g. 256M, 1024M, 1G)')
    .option('--name <name>', 'Name of the task; one is made up otherwise')
    .option('--process <type>', 'Process whose command, memory and disk the task takes over')
    .option('-w, --wait', 'Wait until the task has ended')
    .action(async (app_name: string, flags: TaskFlags) => await runTask(cf, app_name, flags));

  program
    .command('tasks <APP_NAME>')
    .description('List tasks of an app')
    .action(async (app_name: string) => {
      const app = await findApp(cf, app_name);
      terminal.say(terminal.text`Getting tasks for app ${app_name} ` + `${whereAndWho(cf)}...\n`);
      const query = { order_by: '-created_at', per_page: 5000 };
      const { resources } = await client.list<Task>(`/v3/apps/${app.guid}/tasks`, query);
      if (resources.length === 0) return terminal.say('No tasks found for application.');
      const rows = resources.map((task) => [
        String(task.sequence_id),
        task.name,
        task.state,
        listDate(task.created_at),
        // As the public CLI says it to those who may not read commands.
        task.command ?? '[hidden]',
      ]);
      terminal.table([['id', 'name', 'state', 'start time', 'command'], ...rows]);
    });

  program
    .command('task <APP_NAME> <TASK_ID>')
    .description('Display a task of an app')
    .action(async (app_name: string, id: string) => {
      const app = await findApp(cf, app_name);
      terminal.say(terminal.text`Getting task ${id} for app ${app_name} ` + `${whereAndWho(cf)}...\n`);
      const { guid } = await findTask(cf, app, id);
      const task = await client.get<Task>(`/v3/tasks/${guid}`);
      terminal.facts([
        ['id:', String(task.sequence_id)],
        ['name:', task.name],
        ['state:', task.state],
        ['start time:', task.created_at],
        ['command:', task.command ?? '[hidden]'],
        ['memory in mb:', String(task.memory_in_mb)],
        ['disk in mb:', String(task.disk_in_mb)],
        ['log rate limit:', String(task.log_rate_limit_in_bytes_per_second)],
        ['failure reason:', task.result.failure_reason ?? ''],
      ]);
    });

  program
    .command('terminate-task <APP_NAME> <TASK_ID>')
    .description('Terminate a running task of an app')
    .action(async (app_name: string, id: string) => {
      const app = await findApp(cf, app_name);
      const task = await findTask(cf, app, id);
      terminal.say(terminal.text`Terminating task ${id} of app ${app_name} ` + `${whereAndWho(cf)}...`);
      await client.call(`/v3/tasks/${task.guid}/actions/cancel`, { method: 'POST' });
      terminal.ok();
    });
}

async function findTask({ client }: Cf, app: App, id: string): Promise<Task> {
  const query = { sequence_ids: wholeNumber(id, 'TASK_ID') };
  const [task] = (await client.list<Task>(`/v3/apps/${app.guid}/tasks`, query)).resources;
  if (!task) throw new CommandError(`Task sequence ID ${id} not found.`);
  return task;
}

async function runTask(cf: Cf, app_name: string, flags: TaskFlags): Promise<void> {
  const { terminal, client } = cf;
  const app = await findApp(cf, app_name);
  terminal.say(terminal.text`Creating task for app ${app_name} ` + `${whereAndWho(cf)}...`);
  const json: Record<string, unknown> = {
    name: flags.name,
    command: flags.command,
    memory_in_mb: flags.m === undefined ? undefined : megabytes(flags.m),
    disk_in_mb: flags.k === undefined ? undefined : megabytes(flags.k),
    log_rate_limit_in_bytes_per_second: flags.l === undefined ? undefined : bytesOrUnlimited(flags.l),
  };
  if (flags.command === undefined) {
    const process = await client.get<{ guid: string }>(`/v3/apps/${app.guid}/processes/${flags.process ?? 'task'}`);
    json['template'] = { process: { guid: process.guid } };
  } else if (flags.process !== undefined) {
    const process = await client.get<{ guid: string }>(`/v3/apps/${app.guid}/processes/${flags.process}`);
    json['template'] = { process: { guid: process.guid } };
  }
  const { body: task } = await client.call<Task>(`/v3/apps/${app.guid}/tasks`, { method: 'POST', json });
  terminal.say('Task has been submitted successfully for execution.');
  terminal.ok();
  terminal.facts([
    ['task name:', task.name],
    ['task id:', String(task.sequence_id)],
  ]);
  if (!flags.wait) return;
  terminal.say('\nWaiting for task to complete execution...');
  const end = await client.until<Task>(`/v3/tasks/${task.guid}`, ({ state }) =>
    ['SUCCEEDED', 'FAILED'].includes(state),
  );
  if (end.state === 'FAILED')
    throw new CommandError(`Task failed to complete successfully${suffix(end.result.failure_reason)}`);
  terminal.say('\nTask has completed successfully.');
  terminal.ok();
}

const suffix = (reason: string | null): string => (reason === null ? '' : `: ${reason}`);
