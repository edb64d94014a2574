import type { FastifyInstance } from 'fastify';
import { notFound } from '#contracts/cf-errors.ts';
import { presentCommon, type Links } from '../api/links.ts';
import type { Deps } from '../deps.ts';
import type { JobRow } from '../tables.ts';
import { findJob } from './store.ts';

export function registerJobEndpoints(server: FastifyInstance, { db, links }: Deps): void {
  server.get<{ Params: { guid: string } }>('/v3/jobs/:guid', async (request) => {
    const job = await findJob(db, request.params.guid);
    if (!job) throw notFound('Job');
    return presentJob(job, links);
  });
}

function presentJob(job: JobRow, links: Links): Record<string, unknown> {
  const { resource_type, resource_guid } = job;
  const isGone = job.operation.endsWith('.delete') && job.state === 'COMPLETE';
  return {
    ...presentCommon(job),
    operation: job.operation,
    state: job.state,
    errors: job.errors,
    warnings: job.warnings,
    links: {
      self: links.to(`/v3/jobs/${job.guid}`),
      ...(resource_type !== null &&
        resource_guid !== null &&
        !isGone && { [resource_type]: links.to(`/v3/${resource_type}/${resource_guid}`) }),
    },
  };
}
