import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Home } from './home.ts';
import { makeHostKey } from './host-key.ts';

const secret = z.string().min(16);

/** What the components of one platform know each other by. Made at the first start, readable by the owner alone. */
const Secrets = z.object({
  admin_password: secret,
  postgres_password: secret,
  nats_password: secret,
  internal_api_password: secret,
  status_password: secret,
  encryption_key: secret.describe('of the credentials of services, in the database'),
  previous_encryption_keys: z.array(secret).describe('open what was sealed before `ingot rotate-encryption-key`'),
  brokers_password: secret.describe('what the cloud controller logs in to our service brokers with'),
  brokers_credential_key: secret.describe('what all passwords that our brokers hand out are made of'),
  ssh_host_key: secret.describe('PEM; by its fingerprint users know that it is us whom their ssh has reached'),
  uaa_clients: z.strictObject({
    'ssh-proxy': secret,
    cloud_controller_username_lookup: secret,
    'cc-service-dashboards': secret,
    doppler: secret,
    gorouter: secret,
  }),
});
export type Secrets = z.infer<typeof Secrets>;

/** As an earlier version may have left them. */
const Kept = Secrets.partial().extend({ uaa_clients: z.record(z.string(), secret).optional() });

/** Reads the secrets; those that are missing, at the first start all of them, are made. */
export function readSecrets(home: Home): Secrets {
  const kept = existsSync(home.secrets) ? Kept.parse(JSON.parse(readFileSync(home.secrets, 'utf8'))) : {};
  const made = makeSecrets();
  const secrets = Secrets.parse({ ...made, ...kept, uaa_clients: { ...made.uaa_clients, ...kept.uaa_clients } });
  if (!isDeepStrictEqual(kept, secrets)) writeSecrets(home, secrets);
  return secrets;
}

/** A new key for what the cloud controller keeps sealed; at its next start it seals everything with it. */
export function rotateEncryptionKey(home: Home): void {
  const secrets = readSecrets(home);
  const previous_encryption_keys = [secrets.encryption_key, ...secrets.previous_encryption_keys];
  writeSecrets(home, { ...secrets, encryption_key: random(), previous_encryption_keys });
}

function writeSecrets(home: Home, secrets: Secrets): void {
  // A half-written file would lock everybody out.
  const unfinished = `${home.secrets}.new`;
  writeFileSync(unfinished, `${JSON.stringify(secrets, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(unfinished, home.secrets);
}

function makeSecrets(): Secrets {
  return {
    admin_password: random(),
    postgres_password: random(),
    nats_password: random(),
    internal_api_password: random(),
    status_password: random(),
    encryption_key: random(),
    previous_encryption_keys: [],
    brokers_password: random(),
    brokers_credential_key: random(),
    ssh_host_key: makeHostKey(),
    uaa_clients: {
      'ssh-proxy': random(),
      cloud_controller_username_lookup: random(),
      'cc-service-dashboards': random(),
      doppler: random(),
      gorouter: random(),
    },
  };
}

const random = (): string => randomBytes(24).toString('base64url');
