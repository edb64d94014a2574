import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** An authority of instance identities, as the platform makes it. */
export function testAuthority(folder: string): { ca_cert_file: string; ca_key_file: string } {
  const files = { ca_cert_file: join(folder, 'ca.crt'), ca_key_file: join(folder, 'ca.key') };
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'.split(' ');
  const rest = ['-days', '7300', '-subj', '/CN=test', '-addext', 'keyUsage=critical,keyCertSign'];
  execFileSync('openssl', ['req', '-x509', ...key, ...rest, '-keyout', files.ca_key_file, '-out', files.ca_cert_file], {
    stdio: 'ignore',
  });
  return files;
}
