import { isDeepStrictEqual } from 'node:util';
import type { BindingRow, InstanceRow } from '../store.ts';
import { busy, conflict, type OsbError } from './errors.ts';

/** What a request to make something means, given what is there. Source: OSB 2.17, "Provisioning" and "Binding". */
export type Making =
  /** New, or left half-made by one that died. */
  | { do: 'make' }
  /** There already, as it is asked for. */
  | { do: 'confirm' }
  /** On its way. */
  | { do: 'wait'; operation: string }
  | { do: 'refuse'; error: OsbError };

export function decideProvision(
  found: Pick<InstanceRow, 'plan_id' | 'parameters' | 'state' | 'operation' | 'operation_state'> | undefined,
  asked: { plan_id: string; parameters: Record<string, unknown> },
): Making {
  if (!found) return { do: 'make' };
  if (found.plan_id !== asked.plan_id || !isDeepStrictEqual(found.parameters, asked.parameters)) {
    return { do: 'refuse', error: conflict('an instance of this id') };
  }
  if (found.operation_state === 'in progress') {
    return found.state === 'making'
      ? { do: 'wait', operation: found.operation ?? '' }
      : { do: 'refuse', error: busy() };
  }
  switch (found.state) {
    case 'making':
      return { do: 'make' };
    case 'ready':
      return { do: 'confirm' };
    case 'ending':
      return { do: 'refuse', error: busy() };
    default:
      return found.state satisfies never;
  }
}

export function decideBind(
  found: Pick<BindingRow, 'parameters' | 'app_guid' | 'state'> | undefined,
  asked: { parameters: Record<string, unknown>; app_guid: string | null },
): Exclude<Making, { do: 'wait' }> {
  if (!found) return { do: 'make' };
  if (found.app_guid !== asked.app_guid || !isDeepStrictEqual(found.parameters, asked.parameters)) {
    return { do: 'refuse', error: conflict('a binding of this id') };
  }
  return found.state === 'ready' ? { do: 'confirm' } : { do: 'make' };
}
