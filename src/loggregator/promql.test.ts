import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { evaluate, type Series, type Value } from './promql.ts';
import { parseDuration, parsePromql, PromqlInvalid } from './promql-parser.ts';
import { gather } from './promql-range.ts';
import { TestLoggregator } from './testing.ts';

/** Every metric: two instances, a sample each 15 s from 0 to 10 min; `cpu` goes 0, 1, 2…, `requests` likewise but starts anew at 5 min. */
const samples = (value: (n: number) => number): [number, number][] =>
  Array.from({ length: 41 }, (_, n) => [n * 15_000, value(n)]);
const METRICS: Record<string, (n: number) => number> = {
  cpu: (n) => n,
  requests: (n) => (n < 20 ? n : n - 20),
  memory: () => 100,
};
const series: Series[] = Object.entries(METRICS).flatMap(([name, value]) =>
  ['0', '1'].map((instance_id) => ({
    labels: { __name__: name, source_id: 'app', instance_id },
    samples: samples((n) => value(n) * (instance_id === '1' ? 2 : 1)),
  })),
);
for (const [le, count] of Object.entries({ '0.1': 50, '1': 90, '+Inf': 100 })) {
  series.push({ labels: { __name__: 'seconds_bucket', source_id: 'app', le }, samples: samples((n) => n * count) });
}

async function query(text: string, at_s = 600): Promise<Value> {
  const expression = parsePromql(text);
  const at_ms = at_s * 1000;
  const data = await gather(expression, { start_ms: at_ms, end_ms: at_ms }, async ({ name }) =>
    series.filter(({ labels }) => labels['__name__'] === name),
  );
  return evaluate(expression, at_ms, data);
}

/** Values by instance, or all. */
const numbers = (value: Value): number[] =>
  value.type === 'scalar' ? [value.value] : value.samples.map((sample) => Math.round(sample.value * 1e6) / 1e6);

describe('PromQL', () => {
  const cases: [string, number[], number?][] = [
    ['1 + 2 * 3 ^ 2', [19]],
    ['-2 ^ 2', [-4]],
    ['(1 + 2) * 3 % 4', [1]],
    ['2 > bool 1', [1]],
    ['cpu', [40, 80]],
    ['cpu offset 5m', [20, 40]],
    ['cpu', [], 1000],
    ['cpu * 2 - 1', [79, 159]],
    ['100 / memory', [1, 0.5]],
    ['cpu > 50', [80]],
    ['cpu > bool 50', [0, 1]],
    ['cpu / memory', [0.4, 0.4]],
    ['cpu / on(instance_id) memory', [0.4, 0.4]],
    ['sum(cpu)', [120]],
    ['avg by (source_id) (cpu)', [60]],
    ['sum without (instance_id) (cpu)', [120]],
    ['max(cpu) - min(cpu)', [40]],
    ['count(cpu)', [2]],
    ['topk(1, cpu)', [80]],
    ['rate(cpu[5m])', [0.066667, 0.133333]],
    ['increase(cpu[2m])', [8, 16]],
    ['irate(cpu[1m])', [0.066667, 0.133333]],
    ['increase(requests[10m])', [38.974359, 77.948718]],
    ['delta(memory[5m])', [0, 0]],
    ['avg_over_time(cpu[1m])', [38.5, 77]],
    ['max_over_time(requests[10m])', [20, 40]],
    ['sum_over_time(memory[1m])', [400, 800]],
    ['count_over_time(cpu[1m])', [4, 4]],
    ['last_over_time(cpu[1m] offset 5m)', [20, 40]],
    ['quantile(0.5, cpu)', [60]],
    ['quantile(2, cpu)', [Infinity]],
    ['stddev by (source_id) (cpu)', [20]],
    ['group(cpu)', [1]],
    ['sort_desc(cpu)', [80, 40]],
    ['quantile_over_time(0.5, cpu[1m])', [38.5, 77]],
    ['stddev_over_time(cpu[1m])', [1.118034, 2.236068]],
    ['changes(cpu[1m]) + resets(requests[10m])', [4, 4]],
    ['histogram_quantile(0.5, seconds_bucket)', [0.1]],
    ['histogram_quantile(0.7, sum by (le) (rate(seconds_bucket[5m])))', [0.55]],
    ['histogram_quantile(0.99, seconds_bucket)', [1]],
    ['histogram_quantile(0.5, cpu)', []],
    ['clamp_max(cpu, 50)', [40, 50]],
    ['abs(-3) + ceil(1.2) + floor(1.8) + round(2.5)', [9]],
    ['scalar(sum(cpu)) / 2', [60]],
    ['time()', [600]],
    ['cpu and cpu > 50', [80]],
    ['cpu unless cpu > 50', [40]],
    ['cpu > 50 or memory', [80, 100]],
    ['cpu or on(source_id) memory', [40, 80]],
    ['cpu and on(source_id) memory', [40, 80]],
    ['cpu and ignoring(instance_id) sum without (instance_id) (memory)', [40, 80]],
    ['cpu > 50 or cpu < 50 and memory > 1000', [80]],
    ['cpu / on(source_id) group_left sum by (source_id) (cpu)', [0.333333, 0.666667]],
    ['sum by (source_id) (cpu) / on(source_id) group_right() cpu', [3, 1.5]],
    ['cpu > on(source_id) group_left avg by (source_id) (cpu)', [80]],
    ['count_over_time(cpu[5m:1m])', [5, 5]],
    ['count_over_time(cpu[5m:])', [5, 5], 610],
    ['avg_over_time(cpu[2m : 1m])', [38, 76]],
    ['max_over_time(cpu[2m:1m] offset 5m)', [20, 40]],
    ['max_over_time(cpu offset 5m [2m:1m])', [20, 40]],
    ['max_over_time(rate(requests[1m])[10m:1m])', [0.066667, 0.133333]],
    ['min_over_time(sum(cpu)[4m:30s]) + 1', [79]],
    ['quantile_over_time(0.5, (cpu / memory)[2m:15s])', [0.365, 0.365]],
    ['max_over_time(max_over_time(cpu[1m:15s])[2m:1m] offset 1m)', [36, 72]],
    ['rate(cpu[5m:1m])', [0.066667, 0.133333]],
  ];
  for (const [text, expected, at_s] of cases) {
    it(`evaluates ${text}${at_s === undefined ? '' : ` at ${at_s} s`}`, async () => {
      assert.deepEqual(numbers(await query(text, at_s)), expected);
    });
  }

  const bad = [
    '',
    'cpu{',
    'cpu{a=1}',
    'cpu[5m]',
    'rate(cpu)',
    'sum(1)',
    'nothing(cpu)',
    'cpu +',
    '1 > 2',
    'cpu[0s]',
    'a b',
    'topk(cpu)',
    'cpu / on(source_id) memory',
    'cpu / on(source_id) sum by (source_id) (cpu)',
    'cpu and 1',
    'cpu and bool cpu',
    'cpu or',
    'and',
    'quantile(cpu)',
    'quantile_over_time(0.5, cpu)',
    'histogram_quantile(cpu)',
    'cpu[5m:1m]',
    'sum(cpu[5m:1m])',
    'rate(cpu[5m:0s])',
    'rate(cpu[:1m])',
    'rate(cpu[5m:1m][5m:1m])',
    'rate(cpu[5m][5m:1m])',
    'rate(cpu[1y:1ms])',
    '§',
  ];
  for (const text of [...bad, '('.repeat(100)]) {
    it(`refuses ${JSON.stringify(text.slice(0, 20))} with a reason`, async () => {
      await assert.rejects(query(text), PromqlInvalid);
    });
  }

  it('reads durations', () => {
    assert.deepEqual(['5m', '1h30m', '100ms', '2', 'm', ''].map(parseDuration), [
      300_000,
      5_400_000,
      100,
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe('PromQL over the store', () => {
  let test: TestLoggregator;
  let admin: string;
  before(async () => {
    test = await TestLoggregator.start();
    admin = await test.neighbours.bearer('admin', ['logs.admin']);
    for (let index = 0; index < 3; index++) {
      const origin = { source_id: 'app-1', instance_id: String(index), source_type: 'APP/PROC/WEB' };
      test.emitter.emitMeasurement(origin, {
        gauge: {
          metrics: { cpu: { unit: 'percentage', value: index + 1 }, 'disk.used-now': { unit: 'bytes', value: 7 } },
        },
      });
      test.emitter.emitMeasurement(origin, { counter: { name: 'hits', delta: '2' } });
      test.emitter.emitMeasurement(origin, { counter: { name: 'hits', delta: '3' } });
      test.emitter.emitMeasurement(origin, { timer: { name: 'http', start: '1000', stop: '3500' } });
    }
    await eventually(
      'all',
      async () => (await (await test.get('/api/v1/read/app-1', admin)).text()).split('"timer"').length === 4,
    );
  });
  after(async () => await test[Symbol.asyncDispose]());

  const ask = async (path: string, parameters: Record<string, string>, authorization = admin): Promise<Response> =>
    await test.get(`/api/v1/${path}?${new URLSearchParams(parameters).toString()}`, authorization);
  interface Answer {
    status: string;
    data: {
      resultType: string;
      result: { metric: Record<string, string>; value: [number, string]; values: [number, string][] }[];
    };
    error: string;
  }
  const answer = async (response: Response): Promise<Answer> => (await response.json()) as Answer;

  it('answers an instant query in Prometheus’ form', async () => {
    const { status, data } = await answer(await ask('query', { query: 'cpu{source_id="app-1",instance_id=~"[01]"}' }));
    assert.equal(status, 'success');
    assert.equal(data.resultType, 'vector');
    assert.deepEqual(
      data.result.map(({ metric, value }) => [
        metric['__name__'],
        metric['instance_id'],
        metric['source_type'],
        value[1],
      ]),
      [
        ['cpu', '0', 'APP/PROC/WEB', '1'],
        ['cpu', '1', 'APP/PROC/WEB', '2'],
      ],
    );
  });

  const totals: [string, string][] = [
    ['sum(cpu{source_id="app-1"})', '6'],
    ['sum(disk_used_now{source_id="app-1"})', '21'],
    ['sum(hits{source_id="app-1"})', '15'],
    ['max(http{source_id="app-1"})', '2500'],
  ];
  for (const [text, expected] of totals) {
    it(`answers ${text}`, async () => {
      const { data } = await answer(await ask('query', { query: text }));
      assert.deepEqual(
        data.result.map(({ value }) => value[1]),
        [expected],
      );
    });
  }

  it('answers a range query with a value for each step at which there is one', async () => {
    const now_s = Date.now() / 1000;
    const times = { start: String(now_s - 60), end: String(now_s + 60), step: '30s' };
    const { data } = await answer(await ask('query_range', { query: 'sum(cpu{source_id="app-1"})', ...times }));
    assert.equal(data.resultType, 'matrix');
    const values = data.result[0]?.values ?? [];
    assert.ok(values.length >= 2 && values.length <= 3, String(values.length));
    assert.deepEqual(new Set(values.map(([, value]) => value)), new Set(['6']));
  });

  it('says what is wrong with a query, and hides what is not permitted', async () => {
    const wrong: [string, Record<string, string>, RegExp][] = [
      ['query', { query: 'cpu' }, /source_id/],
      ['query', { query: 'cpu{source_id="app-1"} +' }, /unexpected/],
      ['query', { query: 'cpu{source_id="app-1",a=~"("}' }, /regular expression/],
      ['query', { query: '1', time: 'soon' }, /time is no time/],
      ['query_range', { query: '1', start: '0', end: '100000000', step: '1' }, /11000 steps/],
      ['query_range', { query: '1', start: '0', end: '1' }, /step/],
    ];
    for (const [path, parameters, message] of wrong) {
      const response = await ask(path, parameters);
      assert.equal(response.status, 400);
      assert.match((await answer(response)).error, message);
    }
    const stranger = await test.neighbours.bearer('stranger', []);
    assert.equal((await ask('query', { query: 'cpu{source_id="app-1"}' }, stranger)).status, 404);
    assert.equal((await test.get('/api/v1/query?query=1')).status, 401);
  });
});
