/** Warden alone, without the platform: `node src/warden/daemon.ts CONFIG.yml`. TERM or INT stop it; containers live on. */
import { systemClock } from '#kernel/clock.ts';
import { loadConfig } from '#kernel/config.ts';
import { describeError } from '#kernel/errors.ts';
import { createLog } from '#kernel/log.ts';
import { WardenConfig } from './config.ts';
import { start } from './main.ts';

const log = createLog({ component: 'warden', level: 'info' });
try {
  const config = loadConfig(WardenConfig, process.argv[2] ?? 'config/warden.yml');
  const warden = await start(config, {
    log: createLog({ component: 'warden', level: config.log_level }),
    clock: systemClock,
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void warden[Symbol.asyncDispose]().then(() => process.exit(0)));
  }
} catch (error) {
  log.error({ error: describeError(error) }, 'warden does not start');
  process.exitCode = 1;
}
