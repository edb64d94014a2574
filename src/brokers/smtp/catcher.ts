/**
 * The mail catcher as a process of its own, which the broker keeps running: what it takes from apps and shows to people is hostile
 * until proven otherwise, so it has its own user and limits. Its only argument is a file with CatcherConfig as JSON.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { createHttpServer, listen } from '#http/server.ts';
import { systemClock } from '#kernel/clock.ts';
import { createLog } from '#kernel/log.ts';
import { SignIn, SignInConfig } from '../dashboard/sign-in.ts';
import { Accounts } from './accounts.ts';
import { serveMail } from './http.ts';
import { Mailbox } from './mailbox.ts';
import { openReception } from './reception.ts';

const CatcherConfig = z.strictObject({
  folder: z.string(),
  address: z.string(),
  port: z.number().int(),
  message_bytes: z.number(),
  max_clients: z.number().int(),
  page: z.strictObject({ port: z.number().int(), redirect_uri: z.string(), sign_in: SignInConfig }).optional(),
});
export type CatcherConfig = z.infer<typeof CatcherConfig>;

const BODY_LIMIT_BYTES = 64 * 1024;

async function run(config: CatcherConfig): Promise<void> {
  const log = createLog({ component: 'smtp', level: 'info' });
  const accounts = new Accounts(config.folder);
  const mailboxOf = (box: string): Mailbox => new Mailbox(accounts.mailOf(box));
  const { address, port, message_bytes, max_clients } = config;
  const server = createHttpServer({ log, body_limit_bytes: BODY_LIMIT_BYTES });
  if (config.page) {
    const { redirect_uri, sign_in } = config.page;
    const signIn = new SignIn({ config: sign_in, redirect_uri, clock: systemClock });
    serveMail(server, { accounts, mailboxOf, signIn, log });
    await listen(server, { host: address, port: config.page.port });
  }
  const reception = openReception({ accounts, mailboxOf, message_bytes, max_clients, log });
  await new Promise<void>((resolve) => reception.listen(port, address, resolve));
  process.once('SIGTERM', () => {
    reception.close();
    void server.close().then(() => process.exit(0));
  });
}

await run(CatcherConfig.parse(JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))));
