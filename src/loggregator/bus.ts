import { z } from 'zod';
import type { Bus } from '#bus/bus.ts';
import { allEnvelopes } from '#contracts/loggregator.ts';
import { topic } from '#contracts/topic.ts';
import type { Intake } from './intake.ts';

/** Hears every source's envelopes. Their shape is the intake's to check, which counts what does not fit. */
export function hearEnvelopes(bus: Bus, intake: Intake): Disposable {
  return bus.subscribe(topic(allEnvelopes.subject, z.unknown()), (message) => intake.take(message));
}
