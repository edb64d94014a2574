import type { FastifyInstance } from 'fastify';
import { notFound } from '#contracts/cf-errors.ts';
import type { JobsUnderWay } from '#contracts/cloud-controller.ts';
import type { Deps } from '../deps.ts';
import { presentTime } from '../api/links.ts';
import { cancelJob, jobsUnderWay } from './store.ts';

/** For operators: shows what is under way, and ends a job in whatever hands, as FAILED; its worker finds its lease gone and writes nothing more. */
export function registerJobOperatorEndpoints(server: FastifyInstance, { db, log }: Pick<Deps, 'db' | 'log'>): void {
  server.get('/internal/jobs', async (): Promise<JobsUnderWay> => {
    const rows = await jobsUnderWay(db);
    return { jobs: rows.map((row) => ({ ...row, created_at: presentTime(row.created_at) })) };
  });

  server.delete<{ Params: { guid: string } }>('/internal/jobs/:guid', async ({ params }, reply) => {
    if (!(await cancelJob(db, params.guid))) throw notFound('Job under way');
    log.info({ job_guid: params.guid }, 'job ended by an operator');
    return reply.code(204).send();
  });
}
