import { loadConfig } from '#kernel/config.ts';
import { systemClock } from '#kernel/clock.ts';
import { createLog } from '#kernel/log.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import type { z } from 'zod';

/**
 * One component in a process of its own, for tests that kill it: `node run-component.ts ROOM SCHEMA CONFIG`. It says `ready` on its
 * message channel, and TERM disposes of it.
 */
const [room = '', schema = '', path = ''] = process.argv.slice(2);
const settings = (await import(`#${room}/config.ts`)) as Record<string, z.ZodType>;
const main = (await import(`#${room}/main.ts`)) as {
  start(config: unknown, context: ComponentContext): Promise<RunningComponent>;
};
const found = settings[schema];
if (!found) throw new Error(`${room}/config.ts has no ${schema}`);
const log = createLog({ component: room, level: 'info' });
const running = await main.start(loadConfig(found, path), { log, clock: systemClock });
process.once('SIGTERM', () => {
  void (async () => {
    await running[Symbol.asyncDispose]();
    process.exit(0);
  })();
});
process.stdout.write('\nready\n');
