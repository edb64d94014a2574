import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import type { Home } from './home.ts';

const secret = z.string().min(16);

/** What the components of one platform know each other by. Made at the first start, readable by the owner alone. */
const Secrets = z.strictObject({
  admin_password: secret,
  postgres_password: secret,
  nats_password: secret,
  internal_api_password: secret,
  status_password: secret,
  encryption_key: secret.describe('of the credentials of services, in the database'),
  uaa_clients: z.strictObject({
    cloud_controller_username_lookup: secret,
    'cc-service-dashboards': secret,
    doppler: secret,
    gorouter: secret,
  }),
});
export type Secrets = z.infer<typeof Secrets>;

export function readSecrets(home: Home): Secrets {
  if (!existsSync(home.secrets)) {
    writeFileSync(home.secrets, `${JSON.stringify(makeSecrets(), undefined, 2)}\n`, { mode: 0o600, flag: 'wx' });
  }
  return Secrets.parse(JSON.parse(readFileSync(home.secrets, 'utf8')));
}

function makeSecrets(): Secrets {
  return {
    admin_password: random(),
    postgres_password: random(),
    nats_password: random(),
    internal_api_password: random(),
    status_password: random(),
    encryption_key: random(),
    uaa_clients: {
      cloud_controller_username_lookup: random(),
      'cc-service-dashboards': random(),
      doppler: random(),
      gorouter: random(),
    },
  };
}

const random = (): string => randomBytes(24).toString('base64url');
