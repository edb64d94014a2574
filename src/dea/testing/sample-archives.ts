import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { packTarGz } from '#archive/pack-tar.ts';
import { packZip, zipSourcesOf } from '#archive/pack-zip.ts';

/** Bytes of a droplet whose files are these; those under `bin/` or with a `#!` are executable. */
export async function dropletOf(files: Record<string, string | Buffer>): Promise<Buffer> {
  return await withTree({ 'staging_info.yml': '{}', ...files }, async (folder, target) => {
    await packTarGz(folder, target, { owner: { uid: 2000, gid: 2000 } });
  });
}

/** As dropletOf, as a zip: a package or a buildpack. */
export async function zipOf(files: Record<string, string | Buffer>): Promise<Buffer> {
  return await withTree(files, async (folder, target) => await packZip(await zipSourcesOf(folder), target));
}

async function withTree(
  files: Record<string, string | Buffer>,
  pack: (folder: string, target: string) => Promise<void>,
): Promise<Buffer> {
  const root = await mkdtemp(join(tmpdir(), 'ingot-sample-'));
  try {
    for (const [path, text] of Object.entries(files)) {
      const target = join(root, 'tree', path);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, text);
      await chmod(target, String(text).startsWith('#!') ? 0o755 : 0o644);
    }
    await pack(join(root, 'tree'), join(root, 'archive'));
    return await readFile(join(root, 'archive'));
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** A web app of the stack's Python: answers with what it is asked for: `/env`, `/exit/N`, `/log/TEXT`, `/eat`. */
export const WEB_APP = `#!/usr/bin/python3
import http.server, json, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        what = self.path.split('/')
        if what[1] == 'exit': os._exit(int(what[2]))
        if what[1] == 'log': print(what[2], flush=True)
        if what[1] == 'eat':
            eaten = []
            while True: eaten.append(bytearray(os.urandom(1024 * 1024)))
        if what[1] == 'unready': open('/tmp/unready', 'w').close()
        if what[1] == 'ready': os.remove('/tmp/unready')
        if what[1] == 'readiness' and os.path.exists('/tmp/unready'):
            self.send_response(503); self.end_headers(); return
        body = json.dumps(dict(os.environ)) if what[1] == 'env' else 'hello from ' + os.environ['CF_INSTANCE_INDEX']
        self.send_response(200); self.end_headers(); self.wfile.write(body.encode())
    def log_message(self, *args): pass
print('listening', flush=True)
if os.environ.get('IGNORE_TERM'): signal.signal(signal.SIGTERM, signal.SIG_IGN)
else: signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), os._exit(0)))
http.server.HTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`;
