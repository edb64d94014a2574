import { execFileSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Home } from './home.ts';

export interface CertificateFiles {
  ca_file: string;
  /** Of the authority that says who an instance is; it signs nothing else. */
  instance_ca_file: string;
  instance_ca_key_file: string;
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
  const files = {
    ca_file: at('ca.crt'),
    instance_ca_file: at('instance-ca.crt'),
    instance_ca_key_file: at('instance-ca.key'),
    cert_file: at(`${domain}.crt`),
    key_file: at(`${domain}.key`),
  };
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const makeAuthority = (name: string, subject: string): void => {
    if (existsSync(at(`${name}.crt`))) return;
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-days',
      DAYS,
      '-subj',
      subject,
      '-keyout',
      at(`${name}.key`),
      '-out',
      at(`${name}.crt.new`),
      '-addext',
      'keyUsage=critical,keyCertSign,cRLSign',
    );
    renameSync(at(`${name}.crt.new`), at(`${name}.crt`));
  };
  makeAuthority('ca', '/CN=Ingot platform CA');
  makeAuthority('instance-ca', '/CN=Ingot instance identity CA');
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
