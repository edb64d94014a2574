/**
 * What the UAA can do on this machine: tokens by client credentials against the bare RS256 signing rate, checks of tokens as
 * resource servers make them, and SCIM lists over 100,000 users. The UAA is a process of its own, so rates are given per second
 * of its own CPU time too, which says the same on a busy machine as on an idle one. Who lists is another: it does V8's chores
 * itself, since helper threads would take the cores that UAA and PostgreSQL answer with (a third of the p99 on two cores).
 */
import { fork, type ChildProcess } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { once } from 'node:events';
import { promisify } from 'node:util';
import pg from 'pg';
import { Pool } from 'undici';
import type { JSONWebKeySet } from 'jose';
import { nodeFlags } from '#platform/node-flags.ts';
import { TokenVerifier } from '#http/token-verifier.ts';
import { systemClock } from '#kernel/clock.ts';
import { RESOURCE_SECRET, TestUaa } from '#uaa/testing.ts';

const SECONDS = 5;
const USERS = 100_000;
/** Enough that the hundredth is more than the first few, which find everything cold. */
const LISTS = 2_000;
/** How often a token comes to one resource server: a cf push sends dozens of requests by one token, a cf target about five. */
const USES = 10;
const ROUNDS = 5;
const GOALS = { token_share: 0.7, checks_per_cpu_s: 15_000, list_p99_ms: 20 };

interface Served {
  url: string;
  database_url: string;
}

interface ListTimes {
  what: string;
  p50: number;
  p99: number;
  worst: number;
}

const [, , role] = process.argv;
if (role === 'serve') await serve();
else if (role === 'list') process.once('message', (served) => void list(served as Served));
else await measure();

async function list(served: Served): Promise<void> {
  process.send?.(await listTimes(served));
  process.disconnect?.();
}

async function serve(): Promise<void> {
  const uaa = await TestUaa.start();
  process.on('message', (message) => {
    if (message === 'cpu') process.send?.({ cpu_s: cpuSeconds() });
    else {
      void uaa[Symbol.asyncDispose]().then(() => process.disconnect?.());
    }
  });
  process.send?.({ url: uaa.url, database_url: uaa.database_url } satisfies Served);
}

async function measure(): Promise<void> {
  const child = fork(import.meta.filename, ['serve'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // As the platform runs it.
    execArgv: nodeFlags('control'),
  });
  try {
    const [served] = (await once(child, 'message')) as [Served];
    const lists = await timesOfLister(served);
    const bare = await bareSigning();
    console.log(`bare RS256 signing: ${round(bare.per_cpu_s)} per CPU second (${round(bare.per_s)} per second)`);
    const tokens = await tokenRate(child, served);
    const share = tokens.per_cpu_s / bare.per_cpu_s;
    console.log(
      `tokens by client credentials: ${round(tokens.per_cpu_s)} per CPU second (${round(tokens.per_s)} per second) = ${Math.round(share * 100)} % of bare signing; goal ${GOALS.token_share * 100} %`,
    );
    const checks = await checkRates(served, tokens.sample);
    console.log(
      `token checks: ${round(checks.mixed)} per CPU second when each token comes ${USES} times, as with the requests of one cf command; goal ${GOALS.checks_per_cpu_s}`,
    );
    console.log(
      `  tokens never seen: ${round(checks.cold)} = ${Math.round((checks.cold / checks.bare) * 100)} % of bare RS256 verification (${round(checks.bare)}); seen before: ${round(checks.warm)}`,
    );
    console.log(
      `\n| SCIM over ${USERS} users | p50 | p99, goal ${GOALS.list_p99_ms} | worst of ${LISTS} |\n| --- | --- | --- | --- |`,
    );
    for (const { what, ...times } of lists) {
      const shown = [times.p50, times.p99, times.worst].map((ms) => `${ms.toFixed(1)} ms`);
      console.log(`| ${what} | ${shown.join(' | ')} |`);
    }
  } finally {
    child.send('stop');
    await once(child, 'exit');
  }
}

/** Signatures of a token's size, as many at once as the thread pool takes. */
async function bareSigning(): Promise<{ per_s: number; per_cpu_s: number }> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signBytes = promisify(sign);
  const data = Buffer.alloc(700, 'x');
  const cpu = cpuSeconds();
  const { done, took_s } = await during(SECONDS, 8, async () => void (await signBytes('RSA-SHA256', data, privateKey)));
  return { per_s: done / took_s, per_cpu_s: done / (cpuSeconds() - cpu) };
}

async function tokenRate(
  child: ChildProcess,
  { url }: Served,
): Promise<{ per_s: number; per_cpu_s: number; sample: string[] }> {
  await using pool = disposable(new Pool(url, { connections: 16 }));
  const headers = {
    authorization: `Basic ${Buffer.from(`doppler:${RESOURCE_SECRET}`).toString('base64')}`,
    'content-type': 'application/x-www-form-urlencoded',
  };
  const sample: string[] = [];
  const one = async (): Promise<void> => {
    const { statusCode, body } = await pool.client.request({
      path: '/oauth/token',
      method: 'POST',
      headers,
      body: 'grant_type=client_credentials',
    });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`${statusCode} ${text}`);
    if (sample.length < 20_000) sample.push((JSON.parse(text) as { access_token: string }).access_token);
  };
  await during(1, 32, one);
  const cpu = await cpuOf(child);
  const { done, took_s } = await during(SECONDS, 32, one);
  return { per_s: done / took_s, per_cpu_s: done / ((await cpuOf(child)) - cpu), sample };
}

interface CheckRates {
  bare: number;
  cold: number;
  warm: number;
  mixed: number;
}

/** Bare verification is OpenSSL's alone, of the same tokens, taken apart beforehand. In rounds, since the machine's speed changes. */
async function checkRates({ url }: Served, tokens: readonly string[]): Promise<CheckRates> {
  const keys = (await (await fetch(`${url}/token_keys`)).json()) as JSONWebKeySet;
  const parts = tokens.map((token) => {
    const at = token.lastIndexOf('.');
    return { input: Buffer.from(token.slice(0, at)), signature: Buffer.from(token.slice(at + 1), 'base64url') };
  });
  const publicKey = createPublicKey({ key: { ...keys.keys[0] }, format: 'jwk' });
  const verifier = (): TokenVerifier =>
    new TokenVerifier({
      fetchKeys: async () => keys,
      issuer: 'http://uaa.test.example/oauth/token',
      audience: 'uaa',
      clock: systemClock,
      cache_size: tokens.length,
    });
  const rate = async (checks: number, work: () => Promise<void> | void): Promise<number> => {
    const cpu = cpuSeconds();
    await work();
    return checks / (cpuSeconds() - cpu);
  };
  const rounds: CheckRates[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const bare = await rate(tokens.length, () => {
      for (const { input, signature } of parts)
        if (!verify('RSA-SHA256', input, publicKey, signature)) throw new Error('a token of ours does not verify');
    });
    const [one, other] = [verifier(), verifier()];
    const all = async (by: TokenVerifier): Promise<void> => {
      for (const token of tokens) await by.verify(token);
    };
    const cold = await rate(tokens.length, async () => await all(one));
    const warm = await rate(tokens.length, async () => await all(one));
    const mixed = await rate(tokens.length * USES, async () => {
      for (const token of tokens) for (let use = 0; use < USES; use++) await other.verify(token);
    });
    rounds.push({ bare, cold, warm, mixed });
  }
  const median = (of: keyof CheckRates): number => {
    const values = rounds.map((round) => round[of]).sort((a, b) => a - b);
    return values[Math.floor(values.length / 2)] ?? NaN;
  };
  return { bare: median('bare'), cold: median('cold'), warm: median('warm'), mixed: median('mixed') };
}

async function timesOfLister(served: Served): Promise<ListTimes[]> {
  const lister = fork(import.meta.filename, ['list'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [...nodeFlags('bench'), '--v8-pool-size=0'],
  });
  const exit = once(lister, 'exit');
  lister.send(served);
  const first = await Promise.race([once(lister, 'message'), exit.then(() => undefined)]);
  if (!first) throw new Error('the lister ended without times');
  await exit;
  const [times] = first as [ListTimes[]];
  return times;
}

async function listTimes(served: Served): Promise<ListTimes[]> {
  await fill(served.database_url);
  await using pool = disposable(new Pool(served.url, { connections: 1 }));
  const token = await machineToken(served.url);
  const random = (): number => Math.floor(Math.random() * USERS);
  // What the machine and its other work cost any request: the first row is no list at all.
  const kinds: [string, (() => Record<string, string>) | undefined][] = [
    ['no list at all (GET /healthz)', undefined],
    ['userName eq', () => ({ filter: `userName eq "user-${random()}"` })],
    ['userName eq and origin eq', () => ({ filter: `userName eq "user-${random()}" and origin eq "uaa"` })],
    [
      'id eq … or (50 of them)',
      () => ({ filter: Array.from({ length: 50 }, () => `id eq "id-${random()}"`).join(' or ') }),
    ],
    ['emails sw', () => ({ filter: `emails.value sw "user-${random()}@"` })],
    ['page of 100', () => ({ startIndex: String(1 + random()), count: '100' })],
    ['first page by userName', () => ({ sortBy: 'userName', count: '100' })],
  ];
  const results = [];
  for (const [what, query] of kinds) {
    const times: number[] = [];
    for (let n = 0; n < LISTS; n++) {
      const started = performance.now();
      const { statusCode, body } = await pool.client.request({
        path: query ? `/Users?${new URLSearchParams(query()).toString()}` : '/healthz',
        method: 'GET',
        headers: { authorization: `bearer ${token}` },
      });
      await body.text();
      if (statusCode !== 200) throw new Error(String(statusCode));
      times.push(performance.now() - started);
    }
    times.sort((a, b) => a - b);
    const at = (share: number): number => times[Math.floor(times.length * share)] ?? NaN;
    results.push({ what, p50: at(0.5), p99: at(0.99), worst: times.at(-1) ?? NaN });
  }
  return results;
}

async function machineToken(url: string): Promise<string> {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: 'test-admin',
    client_secret: RESOURCE_SECRET,
  });
  const answer = (await (await fetch(`${url}/oauth/token`, { method: 'POST', body })).json()) as {
    access_token: string;
  };
  return answer.access_token;
}

async function fill(database_url: string): Promise<void> {
  const client = new pg.Client({ connectionString: database_url });
  await client.connect();
  await client.query(
    `insert into users (id, user_name, origin, email, token_salt, created_at)
     select 'id-' || n, 'user-' || n, 'uaa', 'user-' || n || '@example.com', 'x', now() - n * interval '1 minute'
     from generate_series(0, ${USERS - 1}) n`,
  );
  await client.query('vacuum analyze users');
  await client.end();
}

/** Runs `work` over and over, `width` at a time, for so many seconds. */
async function during(
  seconds: number,
  width: number,
  work: () => Promise<void>,
): Promise<{ done: number; took_s: number }> {
  const started = performance.now();
  const end = started + seconds * 1000;
  let done = 0;
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (performance.now() < end) {
        await work();
        done++;
      }
    }),
  );
  return { done, took_s: (performance.now() - started) / 1000 };
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const [{ cpu_s }] = (await once(child, 'message')) as [{ cpu_s: number }];
  return cpu_s;
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function disposable(client: Pool): { client: Pool } & AsyncDisposable {
  return { client, [Symbol.asyncDispose]: async () => await client.close() };
}

function round(value: number): string {
  return Math.round(value).toLocaleString('en');
}
