import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { eventually } from '#testing/eventually.ts';
import { hasPrometheus, TestPrometheus } from '#testing/prometheus.ts';
import { TestPlatform } from './platform.ts';

const APP = 'monitored';
const docs = resolve(import.meta.dirname, '../../docs/monitoring');
const rules = join(docs, 'alerts.yml');
const server = `
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            os._exit(3)
        self.send_response(500 if self.path == "/bad" else 200)
        self.end_headers()
        self.wfile.write(b'orders{kind="book"} 7\\n')
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
`;

interface Dashboard {
  uid: string;
  title: string;
  panels: { id: number; title: string; type: string; targets: { expr: string; refId: string }[] }[];
  templating: { list: { name: string; query: string | { query: string } }[] };
}

const dashboards = ['dashboard-platform.json', 'dashboard-apps.json'].map(
  (name) => JSON.parse(readFileSync(join(docs, name), 'utf8')) as Dashboard,
);
const alerts = (
  parse(readFileSync(rules, 'utf8')) as { groups: { rules: { alert: string; expr: string }[] }[] }
).groups.flatMap((group) => group.rules);
const expressions = [
  ...alerts.map(({ alert, expr }) => ({ of: `alert ${alert}`, expr })),
  ...dashboards.flatMap(({ title, panels }) =>
    panels.flatMap((panel) => panel.targets.map(({ expr }) => ({ of: `${title}: ${panel.title}`, expr }))),
  ),
];

/** The names of metrics in an expression: what is left of it without labels, groupings, texts, times and functions. */
function metricsIn(expr: string): string[] {
  const bare = expr
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/\{[^}]*\}/g, ' ')
    .replaceAll(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ')
    .replaceAll(/\boffset\s+\w+/g, ' ')
    .replaceAll(/\[[^\]]*\]/g, ' ');
  return [...bare.matchAll(/[a-zA-Z_:][\w:]*(?!\w|\s*\()/g)]
    .map(([name]) => name)
    .filter((name) => !/^(and|or|unless|bool)$/.test(name));
}

describe('dashboards and alerts', { skip: hasPrometheus ? false : 'prometheus is not installed' }, () => {
  let platform: TestPlatform;
  let prometheus: TestPrometheus;
  let folder: string | undefined;
  let collector: { listen: { port: number }; login: { user: string; password: string } };
  before(async () => {
    platform = await TestPlatform.start();
    collector = parse(readFileSync(join(platform.home, 'config/collector.yml'), 'utf8')) as typeof collector;
    const { listen, login } = collector;
    prometheus = await TestPrometheus.start({ target: `127.0.0.1:${listen.port}`, login, rules });
    folder = await platform.folder({ Procfile: 'web: python3 server.py\n', 'server.py': server });
    await platform.mustCf(['push', APP, '-m', '64M', '-b', 'binary_buildpack'], { cwd: folder });
    await platform.mustCf(['create-user-provided-service', 'own-figures', '-l', 'metrics-endpoint:///metrics']);
    await platform.mustCf(['bind-service', APP, 'own-figures']);
    await platform.get(APP);
    await platform.get(APP, '/bad');
    await platform.get(APP, '/crash').catch(() => {});
  });
  after(async () => {
    await platform.cf(['delete', APP, '-f', '-r']);
    await platform.cf(['delete-service', 'own-figures', '-f']);
    await prometheus[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  it('are what promtool and Grafana read', () => {
    assert.match(execFileSync('promtool', ['check', 'rules', rules], { encoding: 'utf8' }), /SUCCESS: 20 rules found/);
    assert.equal(new Set(dashboards.map(({ uid }) => uid)).size, 2);
    for (const { title, panels, templating } of dashboards) {
      assert.ok(panels.length >= 12, title);
      assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, title);
      assert.deepEqual(templating.list[0]?.name, 'datasource', title);
    }
  });

  it('have figures of every component: each is announced, healthy and measured', async () => {
    interface Shown {
      type: string;
      healthy: boolean | null;
      memory_bytes: number | null;
    }
    const authorization = basicAuthHeader(collector.login);
    const types = 'Brokers CloudController Collector DEA HM9000 Loggregator Router SSHProxy UAA Warden'.split(' ');
    let shown: Shown[] = [];
    await eventually('all of them', async () => {
      const answer = await fetch(`http://127.0.0.1:${collector.listen.port}/components`, {
        headers: { authorization },
      });
      shown = (await answer.json()) as Shown[];
      return types.every((type) =>
        shown.some((one) => one.type === type && one.healthy === true && (one.memory_bytes ?? 0) > 1e6),
      );
    }).catch((error: unknown) => {
      throw new Error(JSON.stringify(shown), { cause: error });
    });
  });

  it('name only metrics that a running platform has', async () => {
    const wanted = new Set(expressions.flatMap(({ expr }) => metricsIn(expr)));
    assert.ok(wanted.size > 40 && wanted.has('app_crashes_total') && wanted.has('latency_bucket'), [...wanted].join());
    let missing: string[] = [];
    await eventually(
      'all are there',
      async () => {
        await platform.get(APP).catch(() => {});
        const { data } = await prometheus.json<{ data: string[] }>('/api/v1/label/__name__/values');
        const known = new Set(data);
        missing = [...wanted].filter((name) => !known.has(name));
        return missing.length === 0;
      },
      90,
    ).catch((error: unknown) => {
      throw new Error(`never shown: ${missing.join(', ')}`, { cause: error });
    });
  });

  it('are evaluated by a real Prometheus, and those of apps show the app', async () => {
    for (const { of, expr } of expressions) {
      const filled = expr.replaceAll(/\$(organization|space|app)\b/g, '.*');
      const found = await prometheus.query(filled).catch((error: unknown) => {
        throw new Error(of, { cause: error });
      });
      if (of.startsWith('Ingot: apps') && !expr.includes('rate(')) {
        assert.ok(found.length > 0, `${of} shows nothing: ${filled}`);
      }
    }
    const [memory] = await prometheus.query(`app_memory_bytes{app_name="${APP}"}`);
    assert.ok((memory?.value ?? 0) > 1e6);
    assert.deepEqual([memory?.metric['organization_name'], memory?.metric['space_name']], ['main', 'dev']);
    const { data } = await eventually('the rules evaluated', async () => {
      type Rules = { data: { groups: { rules: { name: string; health: string; lastError?: string }[] }[] } };
      const answer = await prometheus.json<Rules>('/api/v1/rules');
      return answer.data.groups.every((group) => group.rules.every(({ health }) => health !== 'unknown')) && answer;
    });
    for (const rule of data.groups.flatMap((group) => group.rules)) {
      assert.equal(rule.health, 'ok', `${rule.name}: ${rule.lastError}`);
    }
  });

  it('are there for what an app shows itself', async () => {
    // The list of services and then the app are read every 15 s.
    const read = async (): Promise<false | Awaited<ReturnType<TestPrometheus['query']>>> => {
      const found = await prometheus.query(`custom_orders{app_name="${APP}"}`);
      return found.length > 0 && found;
    };
    const [orders] = await eventually('its own figure', read, 90);
    assert.deepEqual([orders?.value, orders?.metric['kind'], orders?.metric['instance_index']], [7, 'book', '0']);
  });
});
