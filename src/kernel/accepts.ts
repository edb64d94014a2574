import { connect } from 'node:net';

/** Whether somebody takes connections there. */
export async function accepts(host: string, port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1000 });
    const end = (isUp: boolean): void => {
      socket.destroy();
      resolve(isUp);
    };
    socket
      .once('connect', () => end(true))
      .once('error', () => end(false))
      .once('timeout', () => end(false));
  });
}
