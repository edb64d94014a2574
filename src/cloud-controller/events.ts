import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Db } from './tables.ts';

/** Who did it, as audit events name them. */
export const ActorSchema = z.object({
  guid: z.string(),
  type: z.enum(['user', 'client', 'app', 'process', 'system']),
  name: z.string(),
});
export type Actor = z.infer<typeof ActorSchema>;

export interface AuditEvent {
  /** `audit.app.create`, … */
  type: string;
  actor: Actor;
  target: { guid: string; type: string; name: string };
  data?: Record<string, unknown>;
  space_guid?: string | null;
  organization_guid?: string | null;
}

/** Writes an audit event in the transaction of what it tells of, so that neither is there without the other. */
export async function recordAuditEvent(db: Db, event: AuditEvent): Promise<void> {
  await db
    .insertInto('audit_events')
    .values({
      guid: randomUUID(),
      type: event.type,
      actor_guid: event.actor.guid,
      actor_type: event.actor.type,
      actor_name: event.actor.name,
      target_guid: event.target.guid,
      target_type: event.target.type,
      target_name: event.target.name,
      data: JSON.stringify(event.data ?? {}),
      space_guid: event.space_guid ?? null,
      organization_guid: event.organization_guid ?? null,
    })
    .execute();
}
