import { sql, type Selectable } from 'kysely';
import type { Bindings, Db, Instances, Verb } from './tables.ts';

export type InstanceRow = Selectable<Instances>;
export type BindingRow = Selectable<Bindings>;

const NOW = sql<Date>`now()`;

export async function findInstance(db: Db, service: string, guid: string): Promise<InstanceRow | undefined> {
  return await db
    .selectFrom('instances')
    .selectAll()
    .where('guid', '=', guid)
    .where('service', '=', service)
    .executeTakeFirst();
}

export async function listInstances(db: Db, service: string): Promise<InstanceRow[]> {
  return await db.selectFrom('instances').selectAll().where('service', '=', service).orderBy('created_at').execute();
}

/** False when there is one of that guid already. */
export async function noteInstance(
  db: Db,
  made: { guid: string; service: string; plan_id: string; parameters: object; context: object },
): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('instances')
    .values({
      ...made,
      parameters: JSON.stringify(made.parameters),
      context: JSON.stringify(made.context),
      state: 'making',
      operation: null,
      operation_verb: null,
      operation_state: null,
      operation_input: null,
    })
    .onConflict((clash) => clash.doNothing())
    .executeTakeFirstOrThrow();
  return numInsertedOrUpdatedRows === 1n;
}

export async function changeInstance(
  db: Db,
  guid: string,
  change: Partial<{
    plan_id: string;
    parameters: object;
    details: object;
    context: object;
    state: InstanceRow['state'];
  }>,
): Promise<void> {
  const { parameters, details, context, ...plain } = change;
  await db
    .updateTable('instances')
    .set({
      ...plain,
      ...(parameters && { parameters: JSON.stringify(parameters) }),
      ...(details && { details: JSON.stringify(details) }),
      ...(context && { context: JSON.stringify(context) }),
      updated_at: NOW,
    })
    .where('guid', '=', guid)
    .execute();
}

/** Of an operation that goes on after its answer. */
export async function beginOperation(
  db: Db,
  guid: string,
  operation: { operation: string; verb: Verb; input: object },
): Promise<void> {
  await db
    .updateTable('instances')
    .set({
      operation: operation.operation,
      operation_verb: operation.verb,
      operation_state: 'in progress',
      operation_description: '',
      operation_input: JSON.stringify(operation.input),
      updated_at: NOW,
    })
    .where('guid', '=', guid)
    .execute();
}

export async function endOperation(
  db: Db,
  guid: string,
  end: { state: 'succeeded' | 'failed'; description: string },
): Promise<void> {
  await db
    .updateTable('instances')
    .set({ operation_state: end.state, operation_description: end.description, updated_at: NOW })
    .where('guid', '=', guid)
    .execute();
}

export async function forgetInstance(db: Db, guid: string): Promise<void> {
  await db.deleteFrom('instances').where('guid', '=', guid).execute();
}

export async function findBinding(db: Db, instance_guid: string, guid: string): Promise<BindingRow | undefined> {
  return await db
    .selectFrom('bindings')
    .selectAll()
    .where('guid', '=', guid)
    .where('instance_guid', '=', instance_guid)
    .executeTakeFirst();
}

export async function listBindings(db: Db, instance_guid: string): Promise<BindingRow[]> {
  return await db
    .selectFrom('bindings')
    .selectAll()
    .where('instance_guid', '=', instance_guid)
    .orderBy('created_at')
    .execute();
}

/** False when there is one of that guid already. */
export async function noteBinding(
  db: Db,
  made: { guid: string; instance_guid: string; parameters: object; app_guid: string | null },
): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('bindings')
    .values({ ...made, parameters: JSON.stringify(made.parameters), state: 'making' })
    .onConflict((clash) => clash.doNothing())
    .executeTakeFirstOrThrow();
  return numInsertedOrUpdatedRows === 1n;
}

export async function bindingIsReady(db: Db, guid: string): Promise<void> {
  await db.updateTable('bindings').set({ state: 'ready' }).where('guid', '=', guid).execute();
}

export async function forgetBinding(db: Db, guid: string): Promise<void> {
  await db.deleteFrom('bindings').where('guid', '=', guid).execute();
}
/** The port that an instance has, or the lowest one of the range that nobody has. Undefined when all are taken. */
export async function holdPort(
  db: Db,
  instance_guid: string,
  range: { first: number; last: number },
): Promise<number | undefined> {
  return await db.transaction().execute(async (trx) => {
    await sql`lock table ports in share row exclusive mode`.execute(trx);
    const { rows } = await sql<{ port: number }>`
      select port from ports where instance_guid = ${instance_guid}`.execute(trx);
    if (rows[0]) return rows[0].port;
    const { rows: free } = await sql<{ port: number }>`
      select port from generate_series(${range.first}::int, ${range.last}::int) port
      where not exists (select 1 from ports taken where taken.port = port.port)
      order by port limit 1`.execute(trx);
    const port = free[0]?.port;
    if (port !== undefined) await trx.insertInto('ports').values({ port, instance_guid }).execute();
    return port;
  });
}
