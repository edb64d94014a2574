import { execFileSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Home } from './home.ts';

export interface CertificateFiles {
  ca_file: string;
  cert_file: string;
  key_file: string;
}

const DAYS = '3650';

/**
 * A certificate authority of this platform's own and, signed by it, one certificate for the domain and everything one label
 * below it. Made at the first start; a browser that is given `ca.crt` trusts the platform's HTTPS.
 */
export function ensureCertificates(home: Home, domain: string): CertificateFiles {
  const at = (name: string): string => join(home.certificates, name);
  const files = { ca_file: at('ca.crt'), cert_file: at(`${domain}.crt`), key_file: at(`${domain}.key`) };
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  if (!existsSync(files.ca_file)) {
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-days',
      DAYS,
      '-subj',
      '/CN=Ingot platform CA',
      '-keyout',
      at('ca.key'),
      '-out',
      at('ca.crt.new'),
      '-addext',
      'keyUsage=critical,keyCertSign,cRLSign',
    );
    renameSync(at('ca.crt.new'), files.ca_file);
  }
  if (!existsSync(files.cert_file)) {
    const request = at('request.csr');
    const extensions = at('extensions.cnf');
    writeFileSync(extensions, `subjectAltName=DNS:${domain},DNS:*.${domain}\nextendedKeyUsage=serverAuth\n`);
    openssl('req', '-new', ...newKey, '-subj', `/CN=*.${domain}`, '-keyout', files.key_file, '-out', request);
    openssl(
      'x509',
      '-req',
      '-in',
      request,
      '-CA',
      files.ca_file,
      '-CAkey',
      at('ca.key'),
      '-CAcreateserial',
      '-days',
      DAYS,
      '-extfile',
      extensions,
      '-out',
      at('new.crt'),
    );
    renameSync(at('new.crt'), files.cert_file);
    rmSync(request);
    rmSync(extensions);
  }
  return files;
}
