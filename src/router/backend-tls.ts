import { readFileSync } from 'node:fs';
import { checkServerIdentity, rootCertificates, type ConnectionOptions } from 'node:tls';
import { systemErrorCode } from '#kernel/errors.ts';
import type { BackendFault } from './answers.ts';
import type { RouterConfig } from './config.ts';
import type { Endpoint } from './endpoint.ts';

/** What connections to TLS endpoints are made with. */
export interface BackendTls {
  ca: readonly string[] | undefined;
  cert: string | undefined;
  key: string | undefined;
}

export function loadBackendTls(config: RouterConfig['backend_tls']): BackendTls {
  const read = (path: string | undefined): string | undefined =>
    path === undefined ? undefined : readFileSync(path, 'utf8');
  const ca = read(config.ca_file);
  return {
    ca: ca === undefined ? undefined : [...rootCertificates, ca],
    cert: read(config.cert_file),
    key: read(config.key_file),
  };
}

/** The endpoint must prove the identity it registered; without one the certificate must at least be trusted for its address. */
export function tlsOptionsFor(endpoint: Endpoint, tls: BackendTls): ConnectionOptions {
  const name = endpoint.server_cert_domain_san;
  return {
    ...(tls.ca !== undefined && { ca: [...tls.ca] }),
    ...(tls.cert !== undefined && tls.key !== undefined && { cert: tls.cert, key: tls.key }),
    ...(name !== '' && { servername: name }),
    checkServerIdentity: (host, certificate) => checkServerIdentity(name === '' ? host : name, certificate),
    ALPNProtocols: endpoint.isHttp2 ? ['h2'] : ['http/1.1'],
    minVersion: 'TLSv1.2',
  };
}

export function faultOfTls(error: Error, before: BackendFault): BackendFault {
  const code = systemErrorCode(error) ?? '';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'tls_hostname_mismatch';
  if (/CERTIFICATE_REQUIRED|BAD_CERTIFICATE/.test(code)) return 'tls_client_cert_required';
  if (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ISSUER/.test(code) && !code.startsWith('ERR_SSL'))
    return 'tls_untrusted';
  if (code.startsWith('ERR_SSL') || code === 'EPROTO') return 'tls_handshake';
  return before;
}
