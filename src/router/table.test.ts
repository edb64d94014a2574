import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Endpoint } from './endpoint.ts';
import { RouteTable } from './table.ts';

class Fixture {
  now_s = 1000;
  readonly forgotten: string[] = [];
  readonly table: RouteTable;

  constructor(empty_pool_timeout_s = 0) {
    this.table = new RouteTable({
      now_ms: () => this.now_s * 1000,
      droplet_stale_threshold_s: 120,
      empty_pool_timeout_s,
      onForgotten: (endpoint: Endpoint) => void this.forgotten.push(endpoint.address),
    });
  }

  add(uri: string, port: number, more: object = {}): void {
    this.table.register({ host: '10.0.0.1', port, uris: [uri], ...more });
  }

  at(host: string, target = '/'): string | undefined {
    return this.table.lookup(host, target)?.uri;
  }

  ports(host: string): number[] {
    return this.table.lookup(host, '/')?.endpoints.map((endpoint) => endpoint.port) ?? [];
  }
}

describe('the routing table', () => {
  const lookups: [uris: string[], host: string, target: string, found: string | undefined][] = [
    [['a.b'], 'a.b', '/any/path?q', 'a.b'],
    [['A.B/Path'], 'a.b', '/path', 'a.b/path'],
    [['a.b/path'], 'a.b', '/PATH/more', 'a.b/path'],
    [['a.b/path'], 'a.b', '/', undefined],
    [['a.b/path'], 'a.b', '/pathology', undefined],
    [['a.b', 'a.b/x', 'a.b/x/y'], 'a.b', '/x/y/z', 'a.b/x/y'],
    [['a.b', 'a.b/x', 'a.b/x/y'], 'a.b', '/x/z', 'a.b/x'],
    [['a.b', 'a.b/x', 'a.b/x/y'], 'a.b', '/x?/y', 'a.b/x'],
    [['a.b', 'a.b/x'], 'a.b', '/z', 'a.b'],
    [['a.b/x'], 'a.b', '/x/', 'a.b/x'],
    [['a.b/x/'], 'a.b', '/x', 'a.b/x'],
    [['*.b.c'], 'a.b.c', '/', '*.b.c'],
    [['*.b.c'], 'x.a.b.c', '/', '*.b.c'],
    [['*.b.c'], 'b.c', '/', undefined],
    [['*.c', '*.b.c'], 'a.b.c', '/', '*.b.c'],
    [['*.b.c/p'], 'a.b.c', '/p/q', '*.b.c/p'],
    [['*.b.c', 'a.b.c/p'], 'a.b.c', '/q', '*.b.c'],
    [['*.b.c/p', 'a.b.c'], 'a.b.c', '/p', 'a.b.c'],
  ];
  for (const [uris, host, target, found] of lookups) {
    it(`with ${uris.join(', ')} gives ${found ?? 'nothing'} for ${host}${target}`, () => {
      const fixture = new Fixture();
      for (const uri of uris) fixture.add(uri, 1);
      assert.equal(fixture.at(host, target), found);
    });
  }

  it('holds an endpoint once however often it is said, and removes by uri, host and port', () => {
    const fixture = new Fixture();
    fixture.add('a.b', 1);
    fixture.add('a.b', 1);
    fixture.add('a.b', 2);
    assert.deepEqual(fixture.ports('a.b'), [1, 2]);
    fixture.table.unregister({ host: '10.0.0.1', port: 1, uris: ['A.b'] });
    fixture.table.unregister({ host: '10.0.0.2', port: 2, uris: ['a.b'] });
    assert.deepEqual(fixture.ports('a.b'), [2]);
    fixture.table.unregister({ host: '10.0.0.1', port: 2, uris: ['a.b'] });
    assert.equal(fixture.at('a.b'), undefined);
    assert.deepEqual(
      { size: fixture.table.size, endpoints: fixture.table.endpointCount, forgotten: fixture.forgotten },
      { size: 0, endpoints: 0, forgotten: ['10.0.0.1:1', '10.0.0.1:2'] },
    );
  });

  it('forgets plain endpoints 120 s after they were last heard of, sooner when they say so, TLS ones never', () => {
    const fixture = new Fixture();
    fixture.add('plain.b', 1);
    fixture.add('brief.b', 2, { stale_threshold_in_seconds: 10 });
    fixture.add('long.b', 3, { stale_threshold_in_seconds: 9999 });
    fixture.add('tls.b', 4, { tls_port: 5 });
    fixture.now_s += 11;
    assert.equal(fixture.table.prune(), 1);
    fixture.add('plain.b', 1);
    fixture.now_s += 115;
    assert.equal(fixture.table.prune(), 1);
    assert.deepEqual(
      ['plain.b', 'brief.b', 'long.b', 'tls.b'].filter((host) => fixture.at(host) !== undefined),
      ['plain.b', 'tls.b'],
    );
    fixture.table.refreshAll();
    fixture.now_s += 121;
    assert.equal(fixture.table.prune(), 1);
    assert.equal(fixture.at('tls.b'), 'tls.b');
  });

  it('ignores what is older than what it holds', () => {
    const fixture = new Fixture();
    fixture.add('a.b', 1, { endpoint_updated_at_ns: 200, private_instance_id: 'new' });
    fixture.add('a.b', 1, { endpoint_updated_at_ns: 100, private_instance_id: 'old' });
    fixture.table.unregister({ host: '10.0.0.1', port: 1, uris: ['a.b'], endpoint_updated_at_ns: 100 });
    assert.equal(fixture.table.lookup('a.b', '/')?.endpoints[0]?.instance_id, 'new');
    fixture.table.unregister({ host: '10.0.0.1', port: 1, uris: ['a.b'], endpoint_updated_at_ns: 300 });
    assert.equal(fixture.at('a.b'), undefined);
  });

  it('lets no route lead to an address that another instance has taken', () => {
    const fixture = new Fixture();
    fixture.add('old.b', 1, { app: 'one', private_instance_id: 'first' });
    fixture.add('new.b', 1, { app: 'two', private_instance_id: 'second' });
    const route = fixture.table.lookup('old.b', '/');
    assert.equal(route?.choose('round-robin', { max_conns: 0, now_ms: 0 }), 'no_endpoints');
    fixture.table.prune();
    assert.deepEqual([fixture.at('old.b'), fixture.at('new.b')], [undefined, 'new.b']);
  });

  it('keeps an empty route for as long as it is told to', () => {
    const fixture = new Fixture(60);
    fixture.add('a.b', 1);
    fixture.table.unregister({ host: '10.0.0.1', port: 1, uris: ['a.b'] });
    assert.equal(fixture.table.lookup('a.b', '/')?.choose('round-robin', { max_conns: 0, now_ms: 0 }), 'no_endpoints');
    fixture.now_s += 61;
    fixture.table.prune();
    assert.equal(fixture.at('a.b'), undefined);
  });

  it('drops a message whose route service is not https', () => {
    const fixture = new Fixture();
    assert.equal(
      fixture.table.register({ host: '10.0.0.1', port: 1, uris: ['a.b'], route_service_url: 'http://x.test' }),
      'dropped',
    );
    assert.equal(fixture.at('a.b'), undefined);
  });
});

describe('a route chooses', () => {
  const chosen = (
    fixture: Fixture,
    times: number,
    algorithm: 'round-robin' | 'least-connection',
    choice: object = {},
  ): (number | string)[] =>
    Array.from({ length: times }, () => {
      const one = fixture.table.lookup('a.b', '/')?.choose(algorithm, { max_conns: 0, now_ms: 1000, ...choice });
      return typeof one === 'object' ? one.port : (one ?? 'none');
    });
  const three = (): Fixture => {
    const fixture = new Fixture();
    for (const port of [1, 2, 3]) fixture.add('a.b', port, { private_instance_id: `i${port}` });
    return fixture;
  };
  const endpoints = (fixture: Fixture): readonly Endpoint[] => fixture.table.lookup('a.b', '/')?.endpoints ?? [];

  it('in turn', () => {
    assert.deepEqual(chosen(three(), 6, 'round-robin'), [1, 2, 3, 1, 2, 3]);
  });

  it('the one with the fewest requests, by its own wish as well', () => {
    const fixture = three();
    for (const [at, active] of [5, 2, 4].entries()) (endpoints(fixture)[at] ?? { active: 0 }).active = active;
    assert.deepEqual(chosen(fixture, 3, 'least-connection'), [2, 2, 2]);
    fixture.add('a.b', 1, { private_instance_id: 'i1', options: { loadbalancing: 'least-connection' } });
    assert.deepEqual(chosen(fixture, 2, 'round-robin'), [2, 2]);
  });

  it('not those out of rotation, unless all are', () => {
    const fixture = three();
    for (const endpoint of endpoints(fixture).slice(0, 2)) endpoint.failedUntil_ms = 2000;
    assert.deepEqual(chosen(fixture, 3, 'round-robin'), [3, 3, 3]);
    for (const endpoint of endpoints(fixture)) endpoint.failedUntil_ms = 2000;
    assert.equal(new Set(chosen(fixture, 3, 'round-robin')).size, 3);
    assert.deepEqual(
      endpoints(fixture).map((endpoint) => endpoint.failedUntil_ms),
      [0, 0, 0],
    );
  });

  it('not those at their limit, and says so when all are', () => {
    const fixture = three();
    for (const endpoint of endpoints(fixture).slice(1)) endpoint.active = 7;
    assert.deepEqual(chosen(fixture, 2, 'round-robin', { max_conns: 7 }), [1, 1]);
    for (const endpoint of endpoints(fixture)) endpoint.active = 7;
    assert.deepEqual(chosen(fixture, 1, 'round-robin', { max_conns: 7 }), ['connection_limit']);
  });

  it('the one a client is bound to, while it can serve', () => {
    const fixture = three();
    assert.deepEqual(chosen(fixture, 3, 'round-robin', { preferred: 'i3' }), [3, 3, 3]);
    assert.equal(chosen(fixture, 1, 'round-robin', { preferred: 'gone' }).length, 1);
  });
});
