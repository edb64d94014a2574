import type { Actor } from './events.ts';

/**
 * What changes of orgs, spaces and routes do to apps. Resources call it after their transaction is committed; the apps' side
 * of the cloud controller carries it out. All of it may be called again for the same thing without harm.
 */
export interface Effects {
  /** The routes that lead to these apps changed: their running instances' routes are said anew (`dea.update`). */
  routesChanged(app_guids: readonly string[]): Promise<void>;
  /** Stops and deletes apps with all that is theirs; those that are gone already are passed over. */
  deleteApps(app_guids: readonly string[], actor: Actor): Promise<void>;
  /** What started processes and running tasks of these spaces hold; for usage summaries. */
  usageOf(space_guids: readonly string[]): Promise<{ started_instances: number; memory_in_mb: number }>;
}
