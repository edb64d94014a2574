import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { parseLine } from './job-log.ts';

test('a line of conmon is told by its stream, kind and time to the nanosecond', () => {
  const line = parseLine(Buffer.from('2026-01-02T03:04:05.123456789+01:00 stderr P half  a line '), 99);
  assert.deepEqual(line, {
    name: 'stderr',
    data: Buffer.from('half  a line ').toString('base64'),
    partial: true,
    timestamp_ns: `${Date.parse('2026-01-02T02:04:05Z') / 1000}123456789`,
    offset: 99,
  });
});

test('empty lines and bytes that are no text come through as they are', () => {
  const head = Buffer.from('2026-01-02T03:04:05.1Z stdout F ');
  for (const data of [Buffer.alloc(0), Buffer.from([0xff, 0x00, 0xfe])]) {
    assert.equal(parseLine(Buffer.concat([head, data]), 0)?.data, data.toString('base64'));
  }
  assert.equal(parseLine(Buffer.from('the rest of a line whose head was trimmed'), 0), undefined);
});
