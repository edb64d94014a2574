import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import { type Links, presentTime } from '../api/links.ts';
import type { Deps } from '../deps.ts';
import { recordAuditEvent } from '../events.ts';
import {
  type EnvironmentVariableGroup,
  type EnvironmentVariableGroupName,
  findEnvironmentVariableGroup,
  updateEnvironmentVariableGroup,
} from './store.ts';

/** Names of variables that the platform sets itself are refused, whatever their case. */
const UpdateGroup = z.strictObject({
  var: z
    .record(
      z.string(),
      z.union([z.string(), z.number(), z.boolean(), z.null()], {
        error: 'Var must have string values',
      }),
    )
    .superRefine((vars, context) => {
      const fault = (message: string): void => context.addIssue({ code: 'custom', message });
      for (const key of Object.keys(vars)) {
        if (key === '') fault("Var key can't be empty");
        if (/^VCAP_/i.test(key)) fault('Var cannot start with VCAP_');
        if (/^VMC/i.test(key)) fault('Var cannot start with VMC');
        if (/^PORT$/i.test(key)) fault('Var cannot set PORT');
      }
    })
    .transform((vars) =>
      Object.fromEntries(Object.entries(vars).map(([key, value]) => [key, value === null ? null : String(value)])),
    ),
});
type ByName = { Params: { name: string } };

export function registerEnvironmentVariableGroupEndpoints(server: FastifyInstance, { db, links }: Deps): void {
  server.get<ByName>('/v3/environment_variable_groups/:name', async ({ params }) =>
    presentGroup(await findEnvironmentVariableGroup(db, nameOf(params.name)), links),
  );

  server.patch<ByName>(
    '/v3/environment_variable_groups/:name',
    { config: { body: UpdateGroup } },
    async ({ params, body, caller }) => {
      const name = nameOf(params.name);
      caller.require('platform.write');
      const changes = parseBody(UpdateGroup, body).var;
      const updated = await updateEnvironmentVariableGroup(db, name, changes);
      await recordAuditEvent(db, {
        type: 'audit.environment_variable_group.update',
        actor: caller.actor,
        target: { guid: name, type: 'environment_variable_group', name },
        // Values may be secret.
        data: { request: { var: Object.keys(changes) } },
      });
      return presentGroup(updated, links);
    },
  );
}

function nameOf(text: string): EnvironmentVariableGroupName {
  if (text === 'running' || text === 'staging') return text;
  throw notFound('Environment variable group');
}

function presentGroup(group: EnvironmentVariableGroup, links: Links): Record<string, unknown> {
  return {
    updated_at: group.updated_at === null ? null : presentTime(group.updated_at),
    name: group.name,
    var: group.var,
    links: { self: links.to(`/v3/environment_variable_groups/${group.name}`) },
  };
}
