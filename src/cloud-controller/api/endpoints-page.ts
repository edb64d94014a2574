import { LEFT_OUT, PUBLISHED_ENDPOINTS } from './published-endpoints.ts';

/** How an endpoint answered the platform's admin on a cloud controller with one of each resource. */
export interface Walked {
  status: number;
  /** The first error's text, when it was refused. */
  detail?: string;
}

export interface EndpointRow {
  endpoint: string;
  /** `refused`: answered in the API's own words, since the world of the test has nothing to do it with. */
  state: 'works' | 'refused' | 'fails' | 'left out' | 'missing';
  remark: string;
}

/** Path parameters have other names in the publication than here. */
const shape = (endpoint: string): string => endpoint.replaceAll(/:\w+/g, ':');

/** Each published endpoint, then those beyond them, with its state. */
export function endpointRows(walked: ReadonlyMap<string, Walked>): EndpointRow[] {
  const served = new Map([...walked].map(([endpoint, answer]) => [shape(endpoint), answer]));
  const published = new Set(PUBLISHED_ENDPOINTS.map(shape));
  const beyond = [...walked.keys()].filter((endpoint) => !published.has(shape(endpoint))).sort();
  return [
    ...PUBLISHED_ENDPOINTS.map((endpoint) => rowOf(endpoint, served.get(shape(endpoint)))),
    ...beyond.map((endpoint) => {
      const row = rowOf(endpoint, served.get(shape(endpoint)));
      return { ...row, remark: [row.remark, 'beyond the publication'].filter(Boolean).join('; ') };
    }),
  ];
}

function rowOf(endpoint: string, answer: Walked | undefined): EndpointRow {
  const reason = LEFT_OUT[endpoint];
  if (!answer) return { endpoint, state: reason === undefined ? 'missing' : 'left out', remark: reason ?? '' };
  if (answer.status < 400) return { endpoint, state: 'works', remark: String(answer.status) };
  // What is made for each run has other guids each time.
  const remark = `${answer.status}: ${(answer.detail ?? '').replaceAll(/[\da-f]{8}-[\da-f-]{27}/g, '…')}`;
  const isAnswer = answer.status < 500 && answer.detail !== undefined && answer.detail !== 'Unknown request';
  return { endpoint, state: isAnswer ? 'refused' : 'fails', remark };
}

/** docs/api-endpoints.md. */
export function endpointsPage(rows: readonly EndpointRow[]): string {
  const count = (state: EndpointRow['state']): number => rows.filter((row) => row.state === state).length;
  return [
    '# The v3 API, endpoint by endpoint',
    '',
    'Made by `src/cloud-controller/api/endpoints-page.test.ts`, which asks every endpoint as the admin of a cloud controller that has',
    'one of each resource, and holds this page against the answers; `npm run docs` writes it anew. *Works* is a status below 400.',
    '*Refused* is there as well: the world of the test has nothing to do it with (no bits, no running instance, a task that',
    'is over), and the tests beside the resource have the case in which it succeeds. Who may call what is on',
    '[its own page](api-permissions.md); `/openapi.json` of a running platform has the schemas.',
    '',
    `${count('works') + count('refused')} are served, ${count('left out')} are left out.`,
    '',
    '| endpoint | state | answer, or why not |',
    '| --- | --- | --- |',
    ...rows.map(({ endpoint, state, remark }) => `| \`${endpoint}\` | ${state} | ${remark.replaceAll('|', '\\|')} |`),
    '',
  ].join('\n');
}
