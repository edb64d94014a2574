// An app that shows what its platform does: who it is, how it logs, streams, crashes, and meets its limits.
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import prettyBytes from 'pretty-bytes';
import { WebSocketServer } from 'ws';

const MB = 1024 * 1024;
const application = JSON.parse(process.env.VCAP_APPLICATION ?? '{}');
const started = Date.now();
const eaten = [];

const routes = {
  '/': () => ({
    app: application.application_name ?? application.name ?? 'not on a platform',
    instance_index: Number(process.env.CF_INSTANCE_INDEX ?? 0),
    instance_guid: process.env.CF_INSTANCE_GUID ?? application.instance_id ?? null,
    node: process.version,
    memory_limit: process.env.MEMORY_LIMIT ?? null,
    memory_used: prettyBytes(process.memoryUsage.rss()),
    up_s: (Date.now() - started) / 1000,
  }),

  // Values that look like secrets are masked: this page is open to all.
  '/env': () =>
    Object.fromEntries(
      Object.entries(process.env)
        .sort(([a], [b]) => a.localeCompare(b))
        .map(([name, value]) => [name, /key|secret|token|password|credential|vcap_services/i.test(name) ? '(hidden)' : value]),
    ),

  '/health': () => ({ status: 'ok' }),

  // /log?text=hello&lines=3&stream=stderr
  '/log': (query) => {
    const text = query.get('text') ?? 'a line of the sample';
    const lines = Number(query.get('lines') ?? 1);
    const stream = query.get('stream') === 'stderr' ? process.stderr : process.stdout;
    for (let line = 1; line <= lines; line++) stream.write(lines > 1 ? `${text} ${line}\n` : `${text}\n`);
    return { lines };
  },

  // /crash?status=3, or /crash?signal=SIGKILL
  '/crash': (query) => {
    const signal = query.get('signal');
    console.error('crashing, as asked');
    setImmediate(() => (signal ? process.kill(process.pid, signal) : process.exit(Number(query.get('status') ?? 1))));
    return { crashing: true };
  },

  // /eat?mb=100 takes that much memory and keeps it; without mb it takes all there is.
  '/eat': (query) => {
    let left = Number(query.get('mb') ?? Infinity);
    const bite = () => {
      for (let n = 0; n < 8 && left > 0; n++, left--) eaten.push(Buffer.alloc(MB, 1));
      if (left > 0) setImmediate(bite);
    };
    bite();
    return { eating_mb: query.get('mb') ?? 'all' };
  },

  // /fill?mb=100 writes that much to the disk and keeps it; without mb it writes until the disk is full.
  '/fill': (query) => {
    const limit = Number(query.get('mb') ?? Infinity);
    const block = Buffer.alloc(MB, 1);
    const file = openSync(join(process.env.TMPDIR ?? '.', 'filled'), 'a');
    let written_mb = 0;
    let error = null;
    try {
      for (; written_mb < limit; written_mb++) writeSync(file, block);
    } catch (fault) {
      error = fault.code;
    } finally {
      closeSync(file);
    }
    return { written_mb, error };
  },

  '/unfill': () => {
    rmSync(join(process.env.TMPDIR ?? '.', 'filled'), { force: true });
    return { removed: true };
  },

  // /slow?ms=500 answers after that time.
  '/slow': (query) =>
    new Promise((resolve) => setTimeout(resolve, Number(query.get('ms') ?? 1000), { slept_ms: Number(query.get('ms') ?? 1000) })),
};

// /stream?ms=1000&count=10: server-sent events, one number each.
function stream(query, response) {
  const count = Number(query.get('count') ?? Infinity);
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  let number = 0;
  const timer = setInterval(() => {
    response.write(`id: ${++number}\ndata: ${number}\n\n`);
    if (number >= count) response.end();
  }, Number(query.get('ms') ?? 1000));
  response.on('close', () => clearInterval(timer));
}

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  request.resume();
  if (pathname === '/stream') return stream(searchParams, response);
  const route = Object.hasOwn(routes, pathname) ? routes[pathname] : undefined;
  const body = route ? await route(searchParams) : { error: `there is no ${pathname}`, try: [...Object.keys(routes), '/stream', '/ws'] };
  response.writeHead(route ? 200 : 404, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body, null, 2)}\n`);
});

const sockets = new WebSocketServer({ server, path: '/ws' });
sockets.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});

server.listen(Number(process.env.PORT ?? 8080), () => console.log(`listening on ${server.address().port}`));

// The platform asks with TERM: what is under way ends, then so do we.
process.on('SIGTERM', () => {
  console.log('stopping, as asked');
  for (const socket of sockets.clients) socket.close(1001);
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
