import { createServer, type Server } from 'node:net';
import { eventually } from './eventually.ts';
import { listeningPort } from './listening-port.ts';

/** Takes mail by SMTP, as far as a well-behaved sender needs it, and keeps the messages. */
export class TestMailbox implements AsyncDisposable {
  readonly messages: string[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((socket) => {
      let message: string | undefined;
      let rest = '';
      const say = (line: string): void => void socket.write(`${line}\r\n`);
      say('220 mail.example');
      socket.setEncoding('utf8');
      socket.on('error', () => {});
      socket.on('data', (data: string) => {
        const lines = (rest + data).split('\r\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          if (message !== undefined) {
            if (line === '.') {
              // Quoted-printable (RFC 2045), as far as it breaks links.
              this.messages.push(message.replaceAll('=\n', '').replaceAll('=3D', '='));
              message = undefined;
              say('250 taken');
            } else message += `${line}\n`;
          } else if (/^data/i.test(line)) {
            message = '';
            say('354 go on');
          } else if (/^quit/i.test(line)) {
            say('221 bye');
            socket.end();
          } else say('250 ok');
        }
      });
    });
  }

  static async start(): Promise<TestMailbox> {
    const mailbox = new TestMailbox();
    await new Promise<void>((resolve) => mailbox.#server.listen(0, '127.0.0.1', resolve));
    return mailbox;
  }

  /** For the configuration of who sends. */
  get smtp(): { host: string; port: number; from: string } {
    return { host: '127.0.0.1', port: listeningPort(this.#server), from: 'uaa@example.com' };
  }

  /** What `send` makes arrive. */
  async next(send: () => Promise<unknown>): Promise<string> {
    const before = this.messages.length;
    await send();
    return await eventually('the mail', () => this.messages[before]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
