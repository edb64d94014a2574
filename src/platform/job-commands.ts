import type { Command } from 'commander';
import { request } from 'undici';
import { JobsUnderWay } from '#contracts/cloud-controller.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { AppError } from '#kernel/errors.ts';
import type { Home } from './home.ts';
import { runningPlan } from './reach.ts';

/** `ingot jobs …`: asynchronous work of the cloud controller, which its operator may look at and end. */
export function registerJobCommands(program: Command, home: Home): void {
  const jobs = program.command('jobs').description('asynchronous work of the API, for its operator');

  jobs
    .command('list', { isDefault: true })
    .description('a line for each that is under way')
    .action(async () => {
      const { jobs: found } = JobsUnderWay.parse(await call(home, 'GET', '/internal/jobs'));
      if (found.length === 0) return console.log('No job is under way.');
      for (const { guid, operation, state, created_at, attempts } of found)
        console.log([guid, operation, state, `since ${created_at}`, `${attempts} attempt(s)`].join('  '));
    });

  jobs
    .command('end')
    .description('end one that is stuck: it fails, and whoever waits for it is told that an operator did it')
    .argument('<guid>')
    .action(async (guid: string) => {
      await call(home, 'DELETE', `/internal/jobs/${encodeURIComponent(guid)}`);
      console.log(`Job ${guid} has failed now.`);
    });
}

/** Errors: AppError with what the cloud controller says. */
async function call(home: Home, method: 'GET' | 'DELETE', path: string): Promise<unknown> {
  const { ports, secrets } = runningPlan(home);
  const authorization = basicAuthHeader({ user: 'internal', password: secrets.internal_api_password });
  const url = `http://127.0.0.1:${ports.cloud_controller_internal}${path}`;
  const { statusCode, body } = await request(url, { method, headers: { authorization } });
  const text = await body.text();
  if (statusCode < 400) return text === '' ? undefined : JSON.parse(text);
  const detail = /"detail":"([^"]*)"/.exec(text)?.[1];
  throw new AppError('jobs_refused', detail ?? `the cloud controller answers ${statusCode}`);
}
