import { request } from 'undici';
import { BulkApps, type DesiredProcess } from '#contracts/cloud-controller.ts';
import { basicAuthHeader, type Credentials } from '#http/basic-auth.ts';
import { AppError } from '#kernel/errors.ts';

/** The cloud controller did not tell its desired state; what is known stays in force until it is too old. */
export class DesiredStateUnavailable extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('desired_state_unavailable', message, options);
  }
}

/** Reads the whole desired state, batch by batch. Errors: DesiredStateUnavailable; a partial reading is never returned. */
export async function fetchDesiredState(options: {
  cc_url: string;
  credentials: Credentials;
  batch_size: number;
  /** Called with each process; what it returns is kept in its place. */
  same: (process: DesiredProcess) => DesiredProcess;
}): Promise<DesiredProcess[]> {
  const all: DesiredProcess[] = [];
  let token: string | null = '';
  while (token !== null) {
    const query: string = new URLSearchParams({
      batch_size: String(options.batch_size),
      ...(token && { bulk_token: token }),
    }).toString();
    const batch: BulkApps = await fetchBatch(`${options.cc_url}/internal/bulk/apps?${query}`, options.credentials);
    for (const process of batch.results) all.push(options.same(process));
    token = batch.bulk_token;
  }
  return all;
}

async function fetchBatch(url: string, credentials: Credentials): Promise<BulkApps> {
  try {
    const response = await request(url, {
      headers: { authorization: basicAuthHeader(credentials) },
      headersTimeout: 10_000,
      bodyTimeout: 10_000,
    });
    if (response.statusCode !== 200) {
      await response.body.dump();
      throw new DesiredStateUnavailable(`the cloud controller answered ${response.statusCode}`);
    }
    return BulkApps.parse(await response.body.json());
  } catch (error) {
    if (error instanceof DesiredStateUnavailable) throw error;
    throw new DesiredStateUnavailable('the cloud controller did not tell its desired state', { cause: error });
  }
}
