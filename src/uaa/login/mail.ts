import { createTransport, type Transporter } from 'nodemailer';
import type { UaaConfig } from '../config.ts';

type SmtpConfig = NonNullable<UaaConfig['smtp']>;

/** Sends mail by SMTP. */
export class Mailer implements Disposable {
  readonly #transport: Transporter;
  readonly #from: string;

  constructor(config: SmtpConfig) {
    const { host, port, user, password } = config;
    this.#from = config.from;
    this.#transport = createTransport({
      host,
      port,
      secure: config.is_tls,
      connectionTimeout: 10_000,
      greetingTimeout: 10_000,
      socketTimeout: 20_000,
      disableFileAccess: true,
      disableUrlAccess: true,
      ...(user !== undefined && { auth: { user, pass: password ?? '' } }),
    });
  }

  async send(mail: { to: string; subject: string; text: string }): Promise<void> {
    await this.#transport.sendMail({ from: this.#from, ...mail });
  }

  [Symbol.dispose](): void {
    this.#transport.close();
  }
}
