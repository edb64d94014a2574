import type { Bus } from '#bus/bus.ts';
import {
  deaAdvertise,
  deaBeat,
  deaHeartbeat,
  deaLocate,
  deaShutdown,
  deaUsage,
  dropletExited,
} from '#contracts/dea.ts';
import { CC_QUEUE, hm9000Start, hm9000Stop, type StartRequest, type StopRequest } from '#contracts/health-manager.ts';
import type { Log } from '#kernel/log.ts';
import type { AdvertPool } from './placement/advert-pool.ts';
import type { Dispatcher } from './runtime/dispatcher.ts';
import { judgeStart, judgeStop, recordCrash } from './runtime/health-requests.ts';
import type { InstanceTracker } from './runtime/instance-tracker.ts';
import type { Db } from './tables.ts';

export interface BusFaceOptions {
  bus: Bus;
  db: Db;
  pool: AdvertPool;
  tracker: InstanceTracker;
  dispatcher: Dispatcher;
  log: Log;
}

/**
 * What the cloud controller hears. Every one hears adverts, beats and exits, which feed its picture of the DEAs; of all that
 * run one answers the health manager and writes a crash down.
 */
export function listenToBus(options: BusFaceOptions): Disposable {
  const { bus, db, pool, tracker } = options;
  const stack = new DisposableStack();
  stack.use(bus.subscribe(deaAdvertise, (advert) => pool.hear(advert)));
  stack.use(bus.subscribe(deaShutdown, ({ id }) => pool.forget(id)));
  stack.use(bus.subscribe(deaHeartbeat, (beat) => tracker.hearBeat(beat)));
  stack.use(bus.subscribe(deaUsage, ({ usage }) => tracker.hearUsage(usage)));
  stack.use(bus.subscribe(dropletExited, (event) => tracker.exited(event)));
  stack.use(
    bus.subscribe(
      dropletExited,
      async (event) => {
        if (event.reason === 'CRASHED') await recordCrash(db, event);
      },
      { queue: CC_QUEUE },
    ),
  );
  stack.use(bus.subscribe(hm9000Start, async (request) => await answerStart(options, request), { queue: CC_QUEUE }));
  stack.use(bus.subscribe(hm9000Stop, async (request) => await answerStop(options, request), { queue: CC_QUEUE }));
  const catchUp = (): void => {
    bus.publish(deaLocate, {});
    // Not whole lists, which would be too much at once: those that are lacked are asked for as beats come.
    bus.publish(deaBeat, { is_short: true });
  };
  stack.use(bus.onReconnect(catchUp));
  catchUp();
  return stack;
}

async function answerStart(options: BusFaceOptions, request: StartRequest): Promise<void> {
  const { db, dispatcher, log } = options;
  const process = await findProcess(db, request.droplet);
  const verdict = judgeStart(request, process);
  if (!verdict.start) {
    log.info({ droplet: request.droplet, index: request.instance_index, why: verdict.why }, 'start request ignored');
    return;
  }
  const { droplet, version, instance_index: index } = request;
  if (request.reason === 'evacuating') await dispatcher.startAnyway(droplet, { version, index });
  else await dispatcher.startIndices(droplet, { version, indices: [index] });
}

async function answerStop(options: BusFaceOptions, request: StopRequest): Promise<void> {
  const { db, dispatcher, log } = options;
  const { droplet, instance_guid: instance } = request;
  if (!judgeStop(request, await findProcess(db, droplet))) {
    log.info({ droplet, instance }, 'stop request ignored');
    return;
  }
  dispatcher.stopInstance({ guid: droplet }, instance);
}

async function findProcess(db: Db, guid: string): Promise<Parameters<typeof judgeStart>[1]> {
  return await db
    .selectFrom('processes')
    .select(['version', 'instances', 'state', 'started_as'])
    .where('guid', '=', guid)
    .executeTakeFirst();
}
