/**
 * What services cost a user on this machine: the marketplace of 100 brokers with 20 plans each, listed as `cf marketplace` asks for
 * it, and the way from nothing to an app that has a PostgreSQL database. On a platform of its own.
 */
import { rm } from 'node:fs/promises';
import { OsbBroker } from '#testing/osb-broker.ts';
import { TestPlatform } from '../tests/e2e/platform.ts';

const BROKERS = 100;
const PLANS = 20;
const ROUNDS = 9;
const GOALS = { marketplace_ms: 300, database_s: 8 };

interface Row {
  what: string;
  median: string;
  range: string;
  goal: string;
}

await using platform = await TestPlatform.start();
const rows: Row[] = [...(await wayToDatabase()), ...(await marketplace())];
console.log(`| what | median | from – to | goal |\n| --- | --- | --- | --- |`);
for (const { what, median, range, goal } of rows) console.log(`| ${what} | ${median} | ${range} | ${goal} |`);

async function wayToDatabase(): Promise<Row[]> {
  const folder = await platform.sample('static');
  const total: number[] = [];
  const phases = new Map<string, number[]>();
  let first = 0;
  for (let round = 0; round < 4; round++) {
    const name = `bench-${round}`;
    const commands = [
      ['create-service', 'postgresql', 'small', name, '--wait'],
      ['push', name, '-p', folder, '-f', `${folder}/manifest.yml`, '--no-start'],
      ['bind-service', name, name, '--wait'],
      ['start', name],
    ];
    let whole = 0;
    for (const command of commands) {
      const started = performance.now();
      await platform.mustCf(command);
      const seconds = (performance.now() - started) / 1000;
      whole += seconds;
      // The server of the tenants is made and started for the first database.
      const what = command[0] ?? '';
      if (round > 0) phases.set(what, [...(phases.get(what) ?? []), seconds]);
    }
    if (round === 0) first = whole;
    else total.push(whole);
  }
  await rm(folder, { recursive: true, force: true });
  const goal = `≤ ${GOALS.database_s} s`;
  return [
    { what: 'create, bind and push with the first PostgreSQL', median: `${first.toFixed(1)} s`, range: '', goal },
    row('create, bind and push with a further one', total, goal),
    ...[...phases].map(([what, seconds]) => row(`of that: cf ${what}`, seconds, '')),
    row('beside it: cf version, which is the start of the command alone', await startOfCf(), ''),
  ];
}

async function startOfCf(): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    const started = performance.now();
    await platform.mustCf(['version']);
    times.push((performance.now() - started) / 1000);
  }
  return times;
}

function row(what: string, seconds: number[], goal: string): Row {
  const sorted = seconds.toSorted((one, other) => one - other);
  const show = (value: number | undefined): string => `${(value ?? 0).toFixed(1)} s`;
  return { what, median: show(sorted[sorted.length >> 1]), range: `${show(sorted[0])} – ${show(sorted.at(-1))}`, goal };
}

async function marketplace(): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const token = (await platform.mustCf(['oauth-token'])).trim();
  for (let index = 0; index < BROKERS; index++) {
    const broker = stack.use(await OsbBroker.start(catalogOf(index)));
    const name = `bench-broker-${index}`;
    await platform.mustApi('/v3/service_brokers', {
      method: 'POST',
      token,
      json: {
        name,
        url: broker.url,
        authentication: { type: 'basic', credentials: { username: broker.username, password: broker.password } },
      },
    });
  }
  const path = (page: number): string =>
    `/v3/service_plans?available=true&include=service_offering&per_page=5000&page=${page}&fields[service_offering.service_broker]=name,guid`;
  const list = async (): Promise<{ took_ms: number; plans: number }> => {
    const started = performance.now();
    let plans = 0;
    for (let page = 1, pages = 1; page <= pages; page++) {
      const { body } = await platform.api(path(page), { token });
      const { pagination, resources } = JSON.parse(body) as {
        pagination: { total_pages: number };
        resources: unknown[];
      };
      pages = pagination.total_pages;
      plans += resources.length;
    }
    return { took_ms: performance.now() - started, plans };
  };
  // The jobs that read the catalogs end one after the other.
  let seen = await list();
  while (seen.plans < BROKERS * PLANS) seen = await list();
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) times.push((await list()).took_ms);
  times.sort((one, other) => one - other);
  const ms = (value: number | undefined): string => `${Math.round(value ?? 0)} ms`;
  return [
    {
      what: `marketplace of ${BROKERS} brokers × ${PLANS} plans (${seen.plans} listed)`,
      median: ms(times[times.length >> 1]),
      range: `${ms(times[0])} – ${ms(times.at(-1))}`,
      goal: `≤ ${GOALS.marketplace_ms} ms`,
    },
  ];
}

function catalogOf(index: number): object {
  const plans = Array.from({ length: PLANS }, (_, plan) => ({
    id: `bench-${index}-${plan}`,
    name: `plan-${plan}`,
    description: `The plan ${plan} of the service ${index}`,
    metadata: { bullets: ['one', 'two', 'three'], costs: [{ amount: { usd: plan }, unit: 'MONTHLY' }] },
  }));
  return {
    services: [{ id: `bench-${index}`, name: `bench-${index}`, description: 'Of a bench', bindable: true, plans }],
  };
}
