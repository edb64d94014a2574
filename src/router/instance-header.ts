import { type Answer, invalidAppInstance, invalidProcessInstance, unknownInstance } from './answers.ts';
import type { Endpoint } from './endpoint.ts';
import type { RequestHead } from './request-head.ts';
import type { Route } from './route.ts';

const APP_INSTANCE = /^([\w-]+):(\d+)$/;
const PROCESS_INSTANCE = /^([\w-]+)(?::(\d+))?$/;

/** The one instance that `X-Cf-App-Instance` or `X-Cf-Process-Instance` asks for, or why not. */
export function readInstanceWish(
  route: Route | undefined,
  head: RequestHead,
): { endpoint: Endpoint } | { answer: Answer } {
  const isApp = head.appInstance !== '';
  const match = isApp ? APP_INSTANCE.exec(head.appInstance) : PROCESS_INSTANCE.exec(head.processInstance);
  if (match === null) return { answer: isApp ? invalidAppInstance : invalidProcessInstance };
  const [, guid = '', index] = match;
  const fitting = (route?.endpoints ?? []).filter(
    (endpoint) =>
      !endpoint.isGone &&
      (isApp ? endpoint.app : endpoint.process_id) === guid &&
      (index === undefined || endpoint.instance_index === index),
  );
  const endpoint = fitting.length > 1 ? fitting[Math.floor(Math.random() * fitting.length)] : fitting[0];
  if (endpoint !== undefined) return { endpoint };
  return { answer: unknownInstance({ kind: isApp ? '' : 'process ', guid, index }, head.hostLine) };
}
