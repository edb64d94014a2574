import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import type { WardenConfig } from './config.ts';
import { prepareGround, UnfitMachine } from './ground.ts';
import { createApi } from './http.ts';
import { lockDepot } from './lock.ts';
import { enterNamespace, isInNamespace } from './namespace.ts';
import { Warden } from './warden.ts';

/**
 * Warden's daemon. It holds no container itself: crun makes them and conmon keeps their jobs, so it can be killed at any moment
 * and the next one finds all of it again. It wants a process of its own, which it replaces by itself in a mount namespace
 * before anything else (the pid stays): start it first, and alone.
 */
export async function start(config: WardenConfig, context: ComponentContext): Promise<RunningComponent> {
  checkMachine(config);
  mkdirSync(config.depot, { recursive: true, mode: 0o711 });
  if (!isInNamespace(config)) enterNamespace(config);
  // conmon writes a file `oom` wherever it was started when a container runs out of memory.
  process.chdir(config.depot);
  const lock = lockDepot(config.depot);
  const ground = await prepareGround(config, context);
  const warden = new Warden(ground);
  await warden.recover();
  const server = createApi(warden, ground);
  rmSync(config.socket_path, { force: true });
  const mask = process.umask(0o177);
  server.listen(config.socket_path);
  await once(server, 'listening');
  process.umask(mask);
  chmodSync(config.socket_path, 0o600);
  context.log.info({ socket_path: config.socket_path, containers: warden.list().length }, 'warden serves');
  return {
    addresses: { api: config.socket_path },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
      warden.close();
      await ground.dns[Symbol.asyncDispose]();
      lock[Symbol.dispose]();
    },
  };
}

function checkMachine(config: WardenConfig): void {
  if (config.backend === 'process') {
    throw new UnfitMachine('the backend process is not there yet: warden needs Linux, root and crun');
  }
  if (process.platform !== 'linux') throw new UnfitMachine('containers need Linux');
  if (process.getuid?.() !== 0) throw new UnfitMachine('containers need root: start warden as root');
}
