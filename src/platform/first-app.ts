import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { AppError } from '#kernel/errors.ts';
import { componentUrls } from './configure.ts';
import { projectRoot } from './home.ts';
import type { PlatformPlan } from './plan.ts';

class CfFailed extends AppError {
  constructor(args: readonly string[], output: string) {
    super('cf_failed', `cf ${args[0] ?? ''} failed:\n${output}`);
  }
}

/** Runs the bundled `cf` as anybody would, with the session in `cf_home`. Errors: CfFailed with all that it printed. */
async function cf(cf_home: string, args: readonly string[], env: Record<string, string> = {}): Promise<void> {
  const child = spawn(join(projectRoot, 'bin/cf'), args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, CF_HOME: cf_home, ...env },
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  child.stderr.on('data', (chunk) => (output += String(chunk)));
  const exit_status = await new Promise<number | null>((resolve, reject) =>
    child.once('error', reject).once('close', resolve),
  );
  if (exit_status !== 0) throw new CfFailed(args, output);
}

/** Leaves `cf` in `cf_home` logged in as admin, aiming at an org and a space that are made if need be. */
export async function logIn(plan: PlatformPlan, cf_home: string): Promise<void> {
  const { api } = componentUrls(plan);
  // The password goes by the environment: arguments can be read by every user of the machine.
  await cf(cf_home, ['api', api]);
  await cf(cf_home, ['auth'], { CF_USERNAME: 'admin', CF_PASSWORD: plan.secrets.admin_password });
  await cf(cf_home, ['create-org', 'main']);
  await cf(cf_home, ['target', '-o', 'main']);
  await cf(cf_home, ['create-space', 'dev']);
  await cf(cf_home, ['target', '-o', 'main', '-s', 'dev']);
}

/** Pushes the bundled sample along the same path as any app. */
export async function pushWelcome(plan: PlatformPlan): Promise<void> {
  const { cfHome } = plan.home;
  await logIn(plan, cfHome);
  await cf(cfHome, [
    'push',
    '-f',
    join(projectRoot, 'samples/welcome/manifest.yml'),
    '-p',
    join(projectRoot, 'samples/welcome'),
  ]);
}
