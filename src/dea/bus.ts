import {
  deaBeat,
  deaFindDroplet,
  deaLocate,
  deaStart,
  deaStop,
  deaUpdate,
  type FindDroplet,
  type FoundDroplet,
} from '#contracts/dea.ts';
import { stagingStart, stagingStop } from '#contracts/staging.ts';
import type { Bus } from '#bus/bus.ts';
import type { z } from 'zod';
import type { Cell } from './cell.ts';
import type { Stager } from './staging/stager.ts';

/** What this DEA hears over NATS (contracts/dea.ts, contracts/staging.ts), handed to whom it concerns. */
export function listen(bus: Bus, dea: string, cell: Cell, stager: Stager): Disposable {
  const stack = new DisposableStack();
  stack.use(bus.reply(deaStart(dea), (start) => cell.order(start)));
  stack.use(
    bus.subscribe(deaStop, async (filter) => {
      await cell.stop(filter);
    }),
  );
  stack.use(bus.subscribe(deaUpdate, async (message) => await cell.update(message)));
  stack.use(bus.subscribe(deaLocate, () => cell.advertise()));
  stack.use(
    bus.subscribe(deaBeat, (asked) => {
      if (asked.dea === undefined || asked.dea === dea) cell.beat({ is_short: asked.is_short ?? false });
    }),
  );
  stack.use(bus.reply(deaFindDroplet, (query) => find(cell, dea, query)));
  stack.use(bus.reply(stagingStart(dea), async (message) => (cell.takesWork ? await stager.order(message) : NO_WORK)));
  stack.use(bus.subscribe(stagingStop, (filter) => stager.stop(filter)));
  return stack;
}

const NO_WORK = { accepted: false, error: { code: 'evacuating', message: 'This cell takes no more work.' } };

/** Undefined, and so no reply, when nothing here matches. */
function find(cell: Cell, dea: string, query: z.output<typeof FindDroplet>): z.input<typeof FoundDroplet> | undefined {
  const instances = cell.instances.filter(({ start }) => {
    return (
      start.droplet === query.droplet &&
      (query.version === undefined || query.version === start.version) &&
      (query.indices === undefined || query.indices.includes(start.index))
    );
  });
  if (instances.length === 0) return undefined;
  return {
    dea,
    instances: instances.map((instance) => {
      const usage = cell.usageOf(instance);
      return { ...instance.describe(), ...(usage && { usage }) };
    }),
  };
}
