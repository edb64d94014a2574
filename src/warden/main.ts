import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import type { Backend } from './backend.ts';
import type { WardenConfig } from './config.ts';
import { createApi } from './http.ts';
import { UnfitMachine } from './unfit-machine.ts';

/**
 * Warden's daemon. It holds no container itself: crun makes them and conmon keeps their jobs, so it can be killed at any moment
 * and the next one finds all of it again. It wants a process of its own, which it replaces by itself in a mount namespace
 * before anything else (the pid stays): start it first, and alone. Only with the backend `process` does all end with it.
 */
export async function start(config: WardenConfig, context: ComponentContext): Promise<RunningComponent> {
  checkMachine(config);
  await using stack = new AsyncDisposableStack();
  mkdirSync(config.depot, { recursive: true, mode: 0o711 });
  const backend =
    config.backend === 'crun' ? await openCrun(config, context, stack) : await openProcess(config, context, stack);
  const { reports } = config;
  const { log } = context;
  const status = reports && stack.use(await (await import('./status.ts')).serveStatus({ reports, backend, log }));
  const server = createApi(backend, log);
  rmSync(config.socket_path, { force: true });
  const mask = process.umask(0o177);
  server.listen(config.socket_path);
  await once(server, 'listening');
  process.umask(mask);
  chmodSync(config.socket_path, 0o600);
  context.log.info({ socket_path: config.socket_path, containers: backend.list().length }, 'warden serves');
  stack.defer(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  const owned = stack.move();
  return {
    addresses: { api: config.socket_path, ...(status && { status: status.address }) },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

/** What it needs is loaded only here: none of it is there on other systems than Linux. */
async function openCrun(
  config: WardenConfig,
  context: ComponentContext,
  stack: AsyncDisposableStack,
): Promise<Backend> {
  const { enterNamespace, isInNamespace } = await import('./namespace.ts');
  if (!isInNamespace(config)) enterNamespace(config);
  // conmon writes a file `oom` wherever it was started when a container runs out of memory.
  process.chdir(config.depot);
  const { lockDepot } = await import('./lock.ts');
  stack.use(lockDepot(config.depot));
  const { prepareGround } = await import('./ground.ts');
  const ground = await prepareGround(config, context);
  stack.use(ground.dns);
  const { Warden } = await import('./warden.ts');
  const warden = new Warden(ground);
  await warden.recover();
  stack.defer(() => warden.close());
  const { crunBackend } = await import('./crun-backend.ts');
  return crunBackend(warden, ground);
}

async function openProcess(
  config: WardenConfig,
  context: ComponentContext,
  stack: AsyncDisposableStack,
): Promise<Backend> {
  const { ProcessBackend } = await import('./process/process-backend.ts');
  return stack.use(await ProcessBackend.open(config, context));
}

function checkMachine({ backend }: WardenConfig): void {
  if (backend === 'process') return;
  const otherwise = 'For development alone there is the backend "process", which isolates nothing.';
  if (process.platform !== 'linux') throw new UnfitMachine(`containers need Linux. ${otherwise}`);
  if (process.getuid?.() !== 0) throw new UnfitMachine(`containers need root: start warden as root. ${otherwise}`);
}
