/** What the router's bench and soak run in processes of their own: `router <config>`, `node-http <port>:<backend>`, `sink <port>`. */
import { readFileSync } from 'node:fs';
import { Agent, createServer, request as httpRequest } from 'node:http';
import { systemClock } from '#kernel/clock.ts';
import { parseConfig } from '#kernel/config.ts';
import { createLog } from '#kernel/log.ts';
import { RouterConfig } from '#router/config.ts';
import { start } from '#router/main.ts';

const [what, argument = ''] = process.argv.slice(2);
if (what === 'router') await serveRouter(argument);
else if (what === 'node-http') serveNodeHttp(argument);
else if (what === 'sink') serveSink(Number(argument));
else throw new Error(`cannot serve ${what}`);

async function serveRouter(path: string): Promise<void> {
  const config = parseConfig(RouterConfig, readFileSync(path, 'utf8'), path);
  const running = await start(config, { log: createLog({ component: 'router', level: 'error' }), clock: systemClock });
  process.once('SIGTERM', () => void running[Symbol.asyncDispose]().then(() => process.exit(0)));
}

function serveNodeHttp(ports: string): void {
  const [port, backendPort] = ports.split(':').map(Number);
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  createServer((incoming, outgoing) => {
    const { url: path, method, headers } = incoming;
    const onward = httpRequest({ agent, host: '127.0.0.1', port: backendPort, path, method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  }).listen(port, '127.0.0.1');
}

function serveSink(port: number): void {
  createServer((request, response) => {
    request.on('end', () => response.end('ok'));
    request.resume();
  }).listen(port, '127.0.0.1');
}
