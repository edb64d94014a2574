import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { readFrames, toFrame } from './frames.ts';

const PORT = 53;
const PATIENCE_MS = 2000;
/** A name server that is silent once may have been unlucky; the second time round it is asked no more. */
const ROUNDS = 2;

export interface Upstreams {
  nameservers: readonly string[];
  port?: number;
}

/**
 * Asks the world: the message goes out as it came, but for an id and a port of our own that nobody can guess, and so comes the answer
 * back. Undefined when none of the name servers answers.
 */
export async function askUpstream(
  message: Buffer,
  protocol: 'udp' | 'tcp',
  { nameservers, port = PORT }: Upstreams,
): Promise<Buffer | undefined> {
  const ask = protocol === 'udp' ? askByUdp : askByTcp;
  const question = Buffer.from(message);
  for (let round = 0; round < ROUNDS; round++) {
    for (const address of nameservers) {
      question.writeUInt16BE(randomInt(0x10000), 0);
      const reply = await ask(question, { address, port }).catch(() => undefined);
      if (!reply) continue;
      message.copy(reply, 0, 0, 2);
      return reply;
    }
  }
  return undefined;
}

async function askByUdp(question: Buffer, to: { address: string; port: number }): Promise<Buffer> {
  const socket = createSocket('udp4');
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    // Connected: what others send is not heard, and a refusal is.
    socket.connect(to.port, to.address);
    await once(socket, 'connect', { signal });
    socket.send(question);
    for (;;) {
      const [reply] = (await once(socket, 'message', { signal })) as [Buffer];
      if (isReplyTo(question, reply)) return Buffer.from(reply);
    }
  } finally {
    socket.close();
  }
}

async function askByTcp(question: Buffer, to: { address: string; port: number }): Promise<Buffer> {
  const socket = connect({ host: to.address, port: to.port, signal: AbortSignal.timeout(PATIENCE_MS) });
  try {
    socket.on('error', () => {});
    socket.write(toFrame(question));
    for await (const reply of readFrames(socket)) if (isReplyTo(question, reply)) return Buffer.from(reply);
    throw new Error('the name server closed the connection');
  } finally {
    socket.destroy();
  }
}

function isReplyTo(question: Buffer, reply: Buffer): boolean {
  return reply.length >= 12 && (reply.readUInt8(2) & 0x80) !== 0 && reply.readUInt16BE(0) === question.readUInt16BE(0);
}
