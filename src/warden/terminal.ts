import { write } from 'node:fs';
import { type Readable, Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { systemErrorCode } from '#kernel/errors.ts';

const RETRY_MS = 5;

/** What a terminal shows. Its descriptor is closed when this is destroyed. */
export function terminalReader(fd: number): Readable {
  const stream = new ReadStream(fd);
  stream.on('error', (error) => {
    // How Linux says that nobody holds the other end any more.
    if (systemErrorCode(error) === 'EIO') stream.destroy();
  });
  return stream;
}

/**
 * What is typed into a terminal. Not by the stream above: libuv writes to this end of a terminal without regard for whether there is room,
 * and a process that reads nothing would hold up all of us.
 */
export function terminalWriter(fd: number): Writable {
  const put = (chunk: Buffer, done: (error?: Error | null) => void): void => {
    write(fd, chunk, (error, written) => {
      if (error && systemErrorCode(error) === 'EAGAIN') setTimeout(() => put(chunk, done), RETRY_MS);
      else if (error || written === chunk.length) done(error);
      else put(chunk.subarray(written), done);
    });
  };
  return new Writable({ write: (chunk: Buffer, _encoding, done) => put(chunk, done) });
}
