import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Self-signed certificates of a folder of its own. */
export class Certificates implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'ingot-router-tls-'));

  make(name: string, ...alternatives: string[]): { cert_file: string; key_file: string } {
    return this.#issue(name, `/CN=${name}`, alternatives);
  }

  /** As an instance of an app has it. */
  makeInstance(of: { app: string; space: string; organization: string }): { cert_file: string; key_file: string } {
    const units = Object.entries(of).map(([kind, guid]) => `/OU=${kind}:${guid}`);
    return this.#issue(of.app, `${units.join('')}/CN=instance`, ['instance.test']);
  }

  #issue(name: string, subject: string, alternatives: readonly string[]): { cert_file: string; key_file: string } {
    const files = { cert_file: join(this.folder, `${name}.crt`), key_file: join(this.folder, `${name}.key`) };
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        subject,
        '-addext',
        `subjectAltName=${alternatives.map((one) => `DNS:${one}`).join(',')}`,
        '-keyout',
        files.key_file,
        '-out',
        files.cert_file,
      ],
      { stdio: 'ignore' },
    );
    return files;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
