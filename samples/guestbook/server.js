// A guestbook: entries in PostgreSQL, a counter of visits in Redis, both found through VCAP_SERVICES.
import { createServer } from 'node:http';
import { Pool } from 'pg';
import { createClient } from 'redis';

/** The credentials of the first service bound to this app that has the tag. */
function credentials(tag) {
  const services = Object.values(JSON.parse(process.env.VCAP_SERVICES ?? '{}')).flat();
  const found = services.find((service) => service.tags.includes(tag));
  if (!found) throw new Error(`No service tagged ${tag} is bound: cf bind-service, then cf restart`);
  return found.credentials;
}

const database = new Pool({ connectionString: credentials('postgresql').uri, max: 4 });
// An idle connection may be cut, as when the database is backed up or moved; the next query opens another.
database.on('error', (error) => console.error(`database: ${error.message}`));
const cache = createClient({ url: credentials('redis').uri });
cache.on('error', (error) => console.error(`cache: ${error.message}`));

await cache.connect();
await database.query(
  'create table if not exists entries (id bigserial primary key, text text not null, at timestamptz not null default now())',
);

async function readBody(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 1000) break;
  }
  return text.slice(0, 1000);
}

async function answer(request) {
  const { pathname } = new URL(request.url, 'http://guestbook');
  if (pathname === '/health') return { status: 200, body: { status: 'ok' } };
  if (pathname !== '/') return { status: 404, body: { error: 'there is only /' } };
  if (request.method === 'POST') {
    const { rows } = await database.query('insert into entries (text) values ($1) returning id', [await readBody(request)]);
    return { status: 201, body: { id: rows[0].id } };
  }
  const { rows } = await database.query('select id, text, at from entries order by id desc limit 20');
  return { status: 200, body: { visits: await cache.incr('visits'), entries: rows } };
}

createServer(async (request, response) => {
  const { status, body } = await answer(request).catch((error) => {
    console.error(error);
    return { status: 503, body: { error: error.message } };
  });
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}).listen(process.env.PORT ?? 8080);
