import { once } from 'node:events';
import { connect } from 'node:net';
import { AppError } from '#kernel/errors.ts';

/** Redis said no, or nothing. */
export class RedisRefused extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('redis_refused', message, options);
  }
}

export interface RedisLogin {
  host: string;
  port: number;
  username: string;
  password: string;
}

const TIMEOUT_MS = 5_000;

/**
 * Sends commands over a connection of their own, one after the other, and gives their replies as text: what the broker needs of
 * Redis's protocol (RESP 2) is strings and whole numbers. Errors: RedisRefused.
 */
export async function redis(login: RedisLogin, ...commands: readonly (readonly string[])[]): Promise<string[]> {
  const socket = connect({ host: login.host, port: login.port });
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new RedisRefused('Redis does not answer')));
  try {
    await once(socket, 'connect');
    const all = [['AUTH', login.username, login.password], ...commands];
    socket.write(Buffer.concat(all.map(encode)));
    let text = '';
    const replies: string[] = [];
    for await (const chunk of socket) {
      text += (chunk as Buffer).toString('latin1');
      for (let reply = decode(text); reply; reply = decode(text)) {
        text = text.slice(reply.length);
        if (reply.isError) throw new RedisRefused(reply.value);
        replies.push(reply.value);
      }
      if (replies.length === all.length) return replies.slice(1);
    }
    throw new RedisRefused('Redis closed the connection');
  } catch (error) {
    throw error instanceof RedisRefused ? error : new RedisRefused('Redis cannot be reached', { cause: error });
  } finally {
    socket.destroy();
  }
}

function encode(command: readonly string[]): Buffer {
  const parts = command.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  return Buffer.from(`*${command.length}\r\n${parts.join('')}`);
}

/** The first whole reply in a text, and how much of the text it is. */
function decode(text: string): { value: string; length: number; isError: boolean } | undefined {
  const end = text.indexOf('\r\n');
  if (end < 0) return undefined;
  const [kind, line] = [text[0], text.slice(1, end)];
  if (kind !== '$') return { value: line, length: end + 2, isError: kind === '-' };
  if (line === '-1') return { value: '', length: end + 2, isError: false };
  const length = end + 2 + Number(line) + 2;
  return text.length < length ? undefined : { value: text.slice(end + 2, length - 2), length, isError: false };
}
