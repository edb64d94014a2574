import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Sandbox } from './sandbox.ts';

const versions = '0.1.2 0.2.3 1.0.0 1.2.3 1.2.4-beta.1 1.2.4 1.3.0 2.0.0-rc.1 2.0.0 18.20.1 22.1.0 24.0.0'.split(' ');

/** What npm's own semver answers for these. */
const accepted: [string, string][] = [
  ['*', '0.1.2 0.2.3 1.0.0 1.2.3 1.2.4 1.3.0 2.0.0 18.20.1 22.1.0 24.0.0'],
  ['', '0.1.2 0.2.3 1.0.0 1.2.3 1.2.4 1.3.0 2.0.0 18.20.1 22.1.0 24.0.0'],
  ['1.x', '1.0.0 1.2.3 1.2.4 1.3.0'],
  ['^1.2.3', '1.2.3 1.2.4 1.3.0'],
  ['~1.2.3', '1.2.3 1.2.4'],
  ['^0.2', '0.2.3'],
  ['^0', '0.1.2 0.2.3'],
  ['>=1.2.4-beta.0 <1.3.0', '1.2.4-beta.1 1.2.4'],
  ['1.2 - 2', '1.2.3 1.2.4 1.3.0 2.0.0'],
  ['>1.2', '1.3.0 2.0.0 18.20.1 22.1.0 24.0.0'],
  ['<=1.2', '0.1.2 0.2.3 1.0.0 1.2.3 1.2.4'],
  ['<2.0.0', '0.1.2 0.2.3 1.0.0 1.2.3 1.2.4 1.3.0'],
  ['18 || >= 22', '18.20.1 22.1.0 24.0.0'],
  ['v18', '18.20.1'],
  ['^1.2.4-beta.1', '1.2.4-beta.1 1.2.4 1.3.0'],
  ['=1.2.3', '1.2.3'],
];

describe('the version ranges of the nodejs buildpack', () => {
  it('accept what npm accepts', async () => {
    await using sandbox = await Sandbox.create();
    const program = `
import json, sys
sys.path.insert(0, "/tmp/buildpacks/nodejs/lib")
from registry import parse_range, parse_version, satisfies
versions, ranges = json.loads(sys.argv[1])
print(json.dumps([[r, " ".join(v for v in versions if satisfies(parse_version(v), parse_range(r)))] for r in ranges]))
`;
    await sandbox.place({ 'ranges.py': program, 'ranges.json': JSON.stringify([versions, accepted.map(([r]) => r)]) });
    const { output } = await sandbox.runToEnd('python3 -B ranges.py "$(cat ranges.json)"');
    assert.deepEqual(JSON.parse(output), accepted);
  });
});
