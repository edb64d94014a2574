import type { FastifyInstance } from 'fastify';
import { CfError, notFound } from '#contracts/cf-errors.ts';
import { SshAccess } from '#contracts/cloud-controller.ts';
import { recordAppEvent } from '../apps/lifecycle.ts';
import { findApp, type FoundApp } from '../apps/store.ts';
import { identify } from '../api/caller.ts';
import type { Deps } from '../deps.ts';
import { uaaAuthentication } from '../http.ts';
import { findProcess } from '../processes/store.ts';

/** What other components ask in a user's name, with the user's own token. */
export function registerAccess(server: FastifyInstance, deps: Deps): void {
  const { db, config } = deps;
  const authentication = uaaAuthentication(deps);

  server.get<{ Params: { guid: string } }>('/internal/v4/log_access/:guid', async (request) => {
    const caller = await identify(request, authentication);
    caller.see('app.read', await findApp(db, request.params.guid), 'App');
    return {};
  });

  server.get<{ Params: { process_guid: string; index: string } }>(
    '/internal/apps/:process_guid/ssh_access/:index',
    async (request) => {
      const caller = await identify(request, authentication);
      const process = await findProcess(db, request.params.process_guid);
      const app = process && (await findApp(db, process.app_guid));
      if (!process || !app || !caller.may('app.read', app)) throw notFound('Process');
      const index = Number(request.params.index);
      const mayEnter = caller.may('app.ssh', app) && isSshEnabled(app, config) && index < process.instances;
      await recordAppEvent(db, app, caller.actor, {
        what: mayEnter ? 'ssh-authorized' : 'ssh-unauthorized',
        data: { index, process_guid: process.guid },
      });
      if (!mayEnter) throw new CfError('NotAuthorized', 'You are not authorized to perform the requested action');
      return SshAccess.parse({ process_guid: process.guid });
    },
  );
}

function isSshEnabled(app: FoundApp, { urls, defaults }: Deps['config']): boolean {
  return urls.ssh !== undefined && app.space_allow_ssh && (app.ssh_enabled ?? defaults.app_ssh_access);
}
