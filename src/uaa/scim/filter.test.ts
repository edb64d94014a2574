import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { UaaError } from '../errors.ts';
import { parseFilter, type Filter } from './filter.ts';

const eq = (attribute: string, value: string): Filter => ({ kind: 'compare', attribute, operator: 'eq', value });

describe('the SCIM filter parser', () => {
  const cases: [string, Filter][] = [
    ['userName eq "a"', eq('username', 'a')],
    ['USERNAME EQ "a \\" b"', eq('username', 'a " b')],
    ["userName eq 'it'", eq('username', 'it')],
    ['active eq true', { kind: 'compare', attribute: 'active', operator: 'eq', value: true }],
    ['meta.version gt 3', { kind: 'compare', attribute: 'meta.version', operator: 'gt', value: 3 }],
    ['externalId eq null', { kind: 'compare', attribute: 'externalid', operator: 'eq', value: null }],
    ['name.givenName pr', { kind: 'present', attribute: 'name.givenname' }],
    [
      'a eq "1" or b eq "2" and c eq "3"',
      { kind: 'or', terms: [eq('a', '1'), { kind: 'and', terms: [eq('b', '2'), eq('c', '3')] }] },
    ],
    [
      '(a eq "1" or b eq "2") and c eq "3"',
      { kind: 'and', terms: [{ kind: 'or', terms: [eq('a', '1'), eq('b', '2')] }, eq('c', '3')] },
    ],
    ['not (a eq "1")', { kind: 'not', term: eq('a', '1') }],
    [
      'emails[value eq "x" and type eq "work"]',
      { kind: 'and', terms: [eq('emails.value', 'x'), eq('emails.type', 'work')] },
    ],
    ['a eq "or"', eq('a', 'or')],
  ];
  for (const [text, filter] of cases) {
    it(`reads ${text}`, () => assert.deepEqual(parseFilter(text), filter));
  }

  const broken = [
    '',
    'a',
    'a eq',
    'a is "1"',
    'a eq 1 2',
    '(a eq "1"',
    'a eq "1")',
    'not a eq "1"',
    'a eq "1',
    '"a" eq "1"',
    'a eq b',
    'and',
    'a eq "1" and',
    '; drop table users',
    'a eq "1" -- x',
    `${'('.repeat(100)}a pr${')'.repeat(100)}`,
  ];
  for (const text of broken) {
    it(`refuses ${text.slice(0, 40) || 'an empty filter'}`, () => {
      assert.throws(
        () => parseFilter(text),
        (error) => error instanceof UaaError && error.code === 'scim',
      );
    });
  }

  it('gives back every text that JSON can write', () => {
    fc.assert(
      fc.property(fc.string(), (value) =>
        assert.deepEqual(parseFilter(`a eq ${JSON.stringify(value)}`), eq('a', value)),
      ),
    );
  });

  it('answers any text with a tree or a scim error', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (text) => {
        try {
          parseFilter(text);
        } catch (error) {
          assert.ok(error instanceof UaaError);
        }
      }),
    );
  });
});
