import { SyslogDrainUrls } from '#contracts/cloud-controller.ts';
import { basicAuthHeader, type Credentials } from '#http/basic-auth.ts';
import { AppError } from '#kernel/errors.ts';

/** One app's drain. */
export interface DrainTarget {
  url: string;
  app_id: string;
  hostname: string;
  cert: string;
  key: string;
  ca: string;
}

export class DrainListUnavailable extends AppError {
  constructor(why: string, options?: ErrorOptions) {
    super('drain_list_unavailable', `the list of syslog drains is not available: ${why}`, options);
  }
}

const BATCH_SIZE = 1_000;
const MAX_PAGES = 1_000;

/** Reads all drains of all apps from the cloud controller's internal face. Errors: DrainListUnavailable. */
export async function fetchDrains(options: {
  cc_url: string;
  credentials: Credentials;
  timeout_ms: number;
}): Promise<DrainTarget[]> {
  const targets: DrainTarget[] = [];
  let next_id: number | null = 0;
  for (let page = 0; next_id !== null && page < MAX_PAGES; page++) {
    const url = new URL('/internal/v5/syslog_drain_urls', options.cc_url);
    url.searchParams.set('batch_size', String(BATCH_SIZE));
    url.searchParams.set('next_id', String(next_id));
    const list: SyslogDrainUrls = await fetchPage(url, options);
    for (const { url: drain, credentials } of list.results) {
      for (const { apps, cert, key, ca } of credentials) {
        for (const app of apps) targets.push({ url: drain, ...app, cert, key, ca });
      }
    }
    ({ next_id } = list);
  }
  return targets;
}

async function fetchPage(
  url: URL,
  { credentials, timeout_ms }: { credentials: Credentials; timeout_ms: number },
): Promise<SyslogDrainUrls> {
  let body: unknown;
  try {
    const response = await fetch(url, {
      headers: { authorization: basicAuthHeader(credentials) },
      signal: AbortSignal.timeout(timeout_ms),
    });
    if (response.status !== 200) throw new Error(`it answered ${response.status}`);
    body = await response.json();
  } catch (error) {
    throw new DrainListUnavailable('the cloud controller cannot be asked', { cause: error });
  }
  const parsed = SyslogDrainUrls.safeParse(body);
  if (!parsed.success) throw new DrainListUnavailable('it is malformed', { cause: parsed.error });
  return parsed.data;
}
