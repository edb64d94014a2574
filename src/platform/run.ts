import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OtlpExporter, TracingConfig } from '#http/otlp.ts';
import { systemClock } from '#kernel/clock.ts';
import { loadConfig } from '#kernel/config.ts';
import { describeError } from '#kernel/errors.ts';
import { createLog, type Log } from '#kernel/log.ts';
import { ROLES, type RoleName } from './roles.ts';

/**
 * Runs one or more roles in this process until TERM or INT, each with `<folder>/<role>.yml`. Whatever is thrown out of all
 * hands ends the process with status 1: whoever supervises it starts it again in a known state.
 */
export async function runRoles(names: readonly RoleName[], config_folder: string): Promise<void> {
  const stack = new AsyncDisposableStack();
  const processLog = createLog({ component: 'process', level: 'info' });
  const fail = (error: unknown): void => {
    processLog.error(
      { error: describeError(error), stack: error instanceof Error ? error.stack : undefined },
      'process failed',
    );
    process.exit(1);
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
  try {
    const tracing = join(config_folder, 'tracing.yml');
    if (existsSync(tracing)) {
      stack.use(new OtlpExporter(loadConfig(TracingConfig, tracing), { clock: systemClock, log: processLog }));
    }
    await Promise.all(names.map(async (name) => await startRole(name, config_folder, stack)));
  } catch (error) {
    fail(error);
  }
  processLog.info({ roles: names }, 'process up');
  // Whoever started us may wait for this file to name us.
  const readyFile = process.env['INGOT_READY_FILE'];
  if (readyFile !== undefined) writeFileSync(readyFile, String(process.pid));
  const signal = await stopped;
  processLog.info({ signal }, 'process stops');
  await stack.disposeAsync();
  // Nothing of ours is left; a stray timer of a library must not hold the process.
  process.exit(0);
}

async function startRole(name: RoleName, config_folder: string, stack: AsyncDisposableStack): Promise<void> {
  const { schema, start } = await ROLES[name]();
  const config = loadConfig(schema, join(config_folder, `${name}.yml`));
  const log: Log = createLog({ component: name, level: levelOf(config) });
  const started = performance.now();
  const component = stack.use(await start(config, { log, clock: systemClock }));
  log.info({ ...component.addresses, ms: Math.round(performance.now() - started) }, 'component up');
}

function levelOf(config: unknown): Parameters<typeof createLog>[0]['level'] {
  const level = typeof config === 'object' && config !== null && 'log_level' in config ? config.log_level : undefined;
  return level === 'debug' || level === 'warn' || level === 'error' ? level : 'info';
}
