import { unprocessable } from '#contracts/cf-errors.ts';
import type { Db } from '../tables.ts';
import { faultsOfParameters } from './json-schema.ts';

type Wanted = readonly ['service_instance', 'create' | 'update'] | readonly ['service_binding', 'create'];

/**
 * Holds parameters against what the plan's catalog says of them, before a broker is asked. Without parameters there is nothing
 * to check: whether some are needed is the broker's to say. Errors: 422 with all that is wrong.
 */
export async function checkParameters(
  db: Db,
  plan_guid: string | null,
  [resource, action]: Wanted,
  parameters: Record<string, unknown> | null | undefined,
): Promise<void> {
  if (parameters == null || plan_guid === null) return;
  const plan = await db.selectFrom('service_plans').select('schemas').where('guid', '=', plan_guid).executeTakeFirst();
  const schema = inside(inside(inside(plan?.schemas, resource), action), 'parameters');
  if (typeof schema !== 'object' || schema === null) return;
  const faults = faultsOfParameters(schema as Record<string, unknown>, parameters);
  if (faults.length > 0)
    throw unprocessable(`Parameters are not as the service plan wants them: ${faults.join('; ')}.`);
}

function inside(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}
