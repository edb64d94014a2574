import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Entry } from './chunk.ts';
import { countOctets, formatSyslog } from './syslog-format.ts';
import { gauge } from './testing.ts';

const from = { hostname: 'acme.dev.shop', app_id: '6f1e0a52-0001-4000-8000-000000000001' };
const entry = (change: Partial<Entry> = {}): Entry => ({
  timestamp: 1_700_000_000_123_456_789n,
  kind: 'OUT',
  origin: { instance_id: '2', tags: { source_type: 'APP/PROC/WEB', process_type: 'web' } },
  payload: Buffer.from('hello'),
  ...change,
});
const HEAD = '2023-11-14T22:13:20.123456+00:00 acme.dev.shop 6f1e0a52-0001-4000-8000-000000000001';

describe('the syslog format', () => {
  const cases: [string, Entry, string][] = [
    [
      'a line of output',
      entry(),
      `<14>1 ${HEAD} [APP/PROC/WEB/2] - [tags@47450 process_type="web" source_type="APP/PROC/WEB"] hello\n`,
    ],
    [
      'a line of standard error without an instance',
      entry({ kind: 'ERR', origin: { instance_id: '', tags: { source_type: 'my task' } } }),
      `<11>1 ${HEAD} [MY-TASK] - [tags@47450 source_type="my task"] hello\n`,
    ],
    ['no tags', entry({ origin: { instance_id: '0', tags: {} } }), `<14>1 ${HEAD} [/0] - - hello\n`],
    [
      'tags with what structured data must escape',
      entry({ origin: { instance_id: '0', tags: { 'a=b]"c d': 'x"y\\z]', ['n'.repeat(40)]: 'é' } } }),
      `<14>1 ${HEAD} [/0] - [tags@47450 a_b__c_d="x\\"y\\\\z\\]" ${'n'.repeat(32)}="é"] hello\n`,
    ],
    [
      'bytes that end messages',
      entry({ origin: { instance_id: '0', tags: {} }, payload: Buffer.from('a\0b') }),
      `<14>1 ${HEAD} [/0] - - ab\n`,
    ],
  ];
  for (const [what, given, expected] of cases) {
    it(`writes ${what}`, () => {
      assert.equal(formatSyslog(given, from)?.toString(), expected);
    });
  }

  it('says nothing for a measurement', () => {
    assert.equal(formatSyslog(gauge(1, 'cpu', 1), from), undefined);
  });

  it('keeps header fields within what RFC 5424 allows', () => {
    const text = formatSyslog(entry(), { hostname: `ä b${'x'.repeat(300)}`, app_id: 'y'.repeat(60) })?.toString() ?? '';
    const [, , hostname = '', app = ''] = text.split(' ');
    assert.equal(hostname.length, 255);
    assert.match(hostname, /^_-bx+$/);
    assert.equal(app, 'y'.repeat(48));
  });

  it('counts octets, not characters', () => {
    assert.equal(countOctets(Buffer.from('é\n')).toString(), '3 é\n');
  });
});
