import type { Log } from '#kernel/log.ts';
import { describeError } from '#kernel/errors.ts';
import { SMTPServer, type SMTPServerSession } from 'smtp-server';
import type { Accounts } from './accounts.ts';
import { type Mailbox, MessageTooLarge } from './mailbox.ts';

export interface ReceptionOptions {
  accounts: Accounts;
  mailboxOf: (box: string) => Mailbox;
  message_bytes: number;
  max_clients: number;
  log: Log;
}

const MB = 1024 * 1024;
const IDLE_MS = 60_000;
/** RFC 5321's codes. */
const [NOT_LOGGED_IN, TOO_LARGE, LOCAL_ERROR] = [535, 552, 451];

class Refusal extends Error {
  readonly responseCode: number;
  constructor(responseCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.responseCode = responseCode;
  }
}

/** Takes mail of everybody who has a login, for whomever it is, and puts it into the box of that login. Nothing is sent on. */
export function openReception({ accounts, mailboxOf, message_bytes, max_clients, log }: ReceptionOptions): SMTPServer {
  const server = new SMTPServer({
    name: 'ingot',
    banner: 'catches mail and sends none on',
    size: message_bytes,
    maxClients: max_clients,
    socketTimeout: IDLE_MS,
    // It is reached from containers of this platform alone, and has no certificate that they would know.
    disabledCommands: ['STARTTLS'],
    allowInsecureAuth: true,
    authMethods: ['PLAIN', 'LOGIN'],
    disableReverseLookup: true,
    onAuth({ username, password }, _session, done) {
      const box = accounts.open(username ?? '', password ?? '');
      if (box === undefined) done(new Refusal(NOT_LOGGED_IN, 'no such login'));
      else done(null, { user: username });
    },
    // A binding may have ended since.
    onMailFrom(_address, session, done) {
      done(boxOf(accounts, session) ? null : new Refusal(NOT_LOGGED_IN, 'the login is no longer there'));
    },
    onData(stream, session, done) {
      const box = boxOf(accounts, session);
      const limits = box === undefined ? undefined : accounts.readBox(box);
      if (box === undefined || !limits) {
        stream.resume();
        stream.once('end', () => done(new Refusal(NOT_LOGGED_IN, 'the login is no longer there')));
        return;
      }
      const { mailFrom, rcptTo } = session.envelope;
      const envelope = { from: mailFrom ? mailFrom.address : '', to: rcptTo.map(({ address }) => address) };
      mailboxOf(box)
        .keep(stream, envelope, { messages: limits.messages, bytes: limits.size_mb * MB, message_bytes })
        .then(
          ({ id }) => done(null, `kept as ${id}`),
          (error: unknown) => done(refusalOf(error, log)),
        );
    },
  });
  server.on('error', (error) => log.debug({ error: describeError(error) }, 'connection failed'));
  return server;
}

function boxOf(accounts: Accounts, { user }: SMTPServerSession): string | undefined {
  return user === undefined ? undefined : accounts.readLogin(user)?.box;
}

function refusalOf(error: unknown, log: Log): Refusal {
  if (error instanceof MessageTooLarge) return new Refusal(TOO_LARGE, error.message);
  log.error({ error: describeError(error) }, 'message not kept');
  return new Refusal(LOCAL_ERROR, 'the message could not be kept', { cause: error });
}
