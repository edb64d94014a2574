import { z } from 'zod';
import { SshAccess } from '#contracts/cloud-controller.ts';
import { AppError } from '#kernel/errors.ts';
import type { SshProxyConfig } from './config.ts';

/** What a connection is for: one instance of a process. */
export interface Target {
  process_guid: string;
  index: number;
}

/** The user may not, or the code is none. The message is for the log, not for the user, who is told nothing but no. */
export class NotAdmitted extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('not_admitted', message, options);
  }
}

/** `cf:<process guid>/<index>`, as the cf CLI writes it; the index may be left out for 0. */
export function parseUser(username: string): Target | undefined {
  const match = /^cf:(?<guid>[\w-]{1,100})(?:\/(?<index>\d{1,9}))?$/.exec(username);
  const guid = match?.groups?.['guid'];
  return guid === undefined ? undefined : { process_guid: guid, index: Number(match?.groups?.['index'] ?? 0) };
}

const Token = z.object({ access_token: z.string() });

/**
 * Whether who has this one-time code of the UAA may enter this instance: the code becomes the user's token, and the cloud controller,
 * asked with that, says yes (and notes the event) or no. Errors: NotAdmitted; those of fetch when either is away.
 */
export async function admit(target: Target, code: string, config: SshProxyConfig): Promise<void> {
  const { uaa, cc_url } = config;
  const signal = (): AbortSignal => AbortSignal.timeout(uaa.timeout_ms);
  const basic = Buffer.from(`${encodeURIComponent(uaa.client_id)}:${encodeURIComponent(uaa.client_secret)}`);
  const exchanged = await fetch(new URL('/oauth/token', uaa.url), {
    method: 'POST',
    headers: { authorization: `Basic ${basic.toString('base64')}`, accept: 'application/json' },
    body: new URLSearchParams({ grant_type: 'authorization_code', response_type: 'token', code }),
    signal: signal(),
  });
  if (!exchanged.ok) {
    await exchanged.body?.cancel();
    throw new NotAdmitted(`the uaa answered ${exchanged.status} to the code`);
  }
  const { access_token } = Token.parse(await exchanged.json());
  const path = `/internal/apps/${encodeURIComponent(target.process_guid)}/ssh_access/${target.index}`;
  const access = await fetch(new URL(path, cc_url), {
    headers: { authorization: `bearer ${access_token}` },
    signal: signal(),
  });
  if (!access.ok) {
    await access.body?.cancel();
    throw new NotAdmitted(`the cloud controller answered ${access.status}`);
  }
  const { process_guid } = SshAccess.parse(await access.json());
  if (process_guid !== target.process_guid) throw new NotAdmitted('the cloud controller spoke of another process');
}
