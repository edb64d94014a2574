/**
 * Our reading of requests and responses against llhttp's, as Node ships it, over mutated messages. What we accept, llhttp must read as
 * the same messages with the same bodies; where we refuse and it does not, we are only stricter. The run is seeded: a finding can be
 * met again, and becomes a test in src/router/hostile.test.ts or hostile-responses.test.ts.
 *
 *   node bench/fuzz-router.ts [--messages 1000000] [--seed 1]
 */
import { parseArgs } from 'node:util';
import type { Direction } from './fuzz/direction.ts';
import { generator, mutate } from './fuzz/mutations.ts';
import { requests } from './fuzz/requests.ts';
import { responses } from './fuzz/responses.ts';

const MAX_FINDINGS = 20;

const { values } = parseArgs({
  options: { messages: { type: 'string', default: '1000000' }, seed: { type: 'string', default: '1' } },
});

for (const [name, direction] of Object.entries({ requests, responses })) {
  if ((await fuzz(name, direction)) > 0) process.exitCode = 1;
}

/** Returns how many messages were read in two ways. */
async function fuzz(name: string, direction: Direction): Promise<number> {
  const random = generator(Number(values.seed));
  const total = Number(values.messages);
  let accepted = 0;
  let cleaned = 0;
  let findings = 0;
  for (let n = 0; n < total && findings < MAX_FINDINGS; n++) {
    const text = mutate(direction.seeds, random);
    if (!direction.isAccepted(text)) continue;
    accepted++;
    const result = await direction.compare(text);
    if (result === 'same') continue;
    if (result === 'cleaned') {
      cleaned++;
      continue;
    }
    findings++;
    console.log(`finding (seed ${values.seed}, ${name} ${n}): ${JSON.stringify(text)}`);
    console.log(`  ours ${JSON.stringify(result.ours)}\n  llhttp ${JSON.stringify(result.theirs)}`);
  }
  console.log(
    `${total} ${name}, seed ${values.seed}: ${accepted} accepted by us, ${cleaned} of them by llhttp only after cleaning, ${findings} read differently`,
  );
  return findings;
}
