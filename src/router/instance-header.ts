import { type Answer, invalidAppInstance, invalidProcessInstance, unknownInstance } from './answers.ts';
import type { Endpoint } from './endpoint.ts';
import type { RequestHead } from './request-head.ts';
import type { Route } from './route.ts';

const APP_INSTANCE = /^([\w-]+):(\d+)$/;
const PROCESS_INSTANCE = /^([\w-]+)(?::(\d+))?$/;

/** The one instance that `X-Cf-App-Instance` or `X-Cf-Process-Instance` asks for, or why not. */
export function readInstanceWish(route: Route, head: RequestHead): { endpoint: Endpoint } | { answer: Answer } {
  const isApp = head.appInstance !== '';
  const wish = isApp ? head.appInstance : head.processInstance;
  const match = (isApp ? APP_INSTANCE : PROCESS_INSTANCE).exec(wish);
  if (match === null) return { answer: isApp ? invalidAppInstance : invalidProcessInstance };
  const [, guid = '', index] = match;
  const fitting = route.endpoints.filter(
    (endpoint) =>
      !endpoint.isGone &&
      (isApp ? endpoint.app : endpoint.process_id) === guid &&
      (index === undefined || endpoint.instance_index === index),
  );
  const endpoint = fitting.length > 1 ? fitting[Math.floor(Math.random() * fitting.length)] : fitting[0];
  return endpoint === undefined ? { answer: unknownInstance(index ?? '', guid, head.host) } : { endpoint };
}
