import { serveAttached } from './attach.ts';
import type { Backend, BackendContainer } from './backend.ts';
import type { Container } from './container.ts';
import { copyIn, copyOut } from './copy.ts';
import { dial } from './dial.ts';
import type { Ground } from './ground.ts';
import { convertWhiteouts } from './image-layer.ts';
import type { Warden } from './warden.ts';

/** Containers as they ought to be: crun's. */
export function crunBackend(warden: Warden, ground: Ground): Backend {
  const verbsOf = (container: Container): BackendContainer => ({
    describe: () => container.describe(),
    info: () => container.info(),
    spawn: async (request) => await container.spawn(request),
    run: async (request, signal) => await container.run(request, signal),
    link: async (job_id) => await container.job(job_id).end,
    output: (job_id, offset, signal) => container.stream(container.job(job_id), offset, signal),
    signal: (job_id, signal) => container.signal(container.job(job_id), signal),
    stop: async (options) => await container.stop(options),
    netIn: async (request) => await container.netIn(request),
    netOut: async (rules) => await container.netOut(rules),
    limit: async (change) => await container.limit(change),
    copyIn: async (options) => await copyIn(ground, container, options),
    copyOut: async (options) => await copyOut(ground, container, options),
    mustRun: () => container.mustRun(),
    attach: async (socket) => await serveAttached(ground, container, socket),
    dial: async (target) => await dial(ground, container, target),
  });
  return {
    facts: () => ({ network: ground.config.network_pool }),
    list: () => warden.list(),
    setNetwork: (state) => warden.setNetwork(state),
    convertLayer: async (path) => await convertWhiteouts(path),
    find: (handle) => verbsOf(warden.find(handle)),
    create: async (request) => verbsOf(await warden.create(request)),
    destroy: async (handle) => await warden.destroy(handle),
  };
}
