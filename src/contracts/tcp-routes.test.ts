import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isReservable, ReservablePorts, tcpPortOf } from './tcp-routes.ts';

describe('TCP routes', () => {
  it('are known by the port at the end of their uri', () => {
    for (const [uri, port] of [
      ['tcp.example.com:1024', 1024],
      ['app.example.com', undefined],
      ['app.example.com/a:80', undefined],
      ['*.example.com', undefined],
      [':1024', undefined],
      ['tcp.example.com:123456', undefined],
    ] as const)
      assert.equal(tcpPortOf(uri), port, uri);
  });

  it('have the ports that their router group may reserve', () => {
    assert.ok(
      isReservable('1024-1123', 1024) && isReservable('1024-1123', 1123) && isReservable('2000, 3000-3010', 2000),
    );
    assert.ok(!isReservable('1024-1123', 1124) && !isReservable('2000,3000-3010', 2001));
    for (const text of ['', 'all', '10-', '20-10', '0', '1-70000', '1024-1123,'])
      assert.equal(ReservablePorts.safeParse(text).success, false, text);
  });
});
