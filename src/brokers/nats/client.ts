import { once } from 'node:events';
import { connect } from 'node:net';

export interface NatsLogin {
  host: string;
  port: number;
  username: string;
  password: string;
}

const TIMEOUT_MS = 5_000;

/** Whether the server lets this login in, by NATS's protocol: CONNECT and PING, to which it says PONG or an error. */
export async function mayConnect({ host, port, username, password }: NatsLogin): Promise<boolean> {
  const socket = connect({ host, port });
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  try {
    await once(socket, 'connect');
    const options = { user: username, pass: password, verbose: false, pedantic: false, lang: 'broker', version: '1' };
    socket.write(`CONNECT ${JSON.stringify(options)}\r\nPING\r\n`);
    let text = '';
    for await (const chunk of socket) {
      text += (chunk as Buffer).toString();
      if (text.includes('-ERR')) return false;
      if (text.includes('PONG')) return true;
    }
    return false;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
