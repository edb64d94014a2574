import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import ssh2 from 'ssh2';
import { SshConnection } from './ssh-client.ts';

describe('a command over SSH', () => {
  it('has its exit status, however soon after its start it ends', async () => {
    const server = new ssh2.Server({ hostKeys: [ssh2.utils.generateKeyPairSync('ed25519').private] }, (client) => {
      client.on('error', () => {});
      client.on('authentication', (context) => context.accept());
      client.on('session', (accept) =>
        accept().on('exec', (begin) => {
          // Started and ended in one turn, and so in bytes that come together.
          const channel = begin();
          channel.exit(7);
          channel.end();
        }),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const { port } = server.address() as AddressInfo;
      const target = { host: '127.0.0.1', port, fingerprint: undefined, username: 'cf', passcode: 'once' };
      await using connection = await SshConnection.open(target);
      for (let run = 0; run < 5; run++) assert.equal(await connection.run('exit 7', { tty: false }), 7);
    } finally {
      server.close();
    }
  });
});
