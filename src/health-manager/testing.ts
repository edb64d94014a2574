import { createServer } from 'node:http';
import type { BulkApps } from '#contracts/cloud-controller.ts';

/** The cloud controller's side of the contract: one process, in pages of one. */
export async function simulatedCloudController(
  processes: BulkApps['results'],
): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://cc');
    const at = Number(url.searchParams.get('bulk_token') ?? 0);
    const next = at + 1 < processes.length ? String(at + 1) : null;
    const page: BulkApps = { results: processes.slice(at, at + 1), bulk_token: next };
    const isAllowed = request.headers.authorization === `Basic ${Buffer.from('internal:secret').toString('base64')}`;
    response.writeHead(isAllowed ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify(page));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
