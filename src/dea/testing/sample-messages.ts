import type { StartMessage } from '#contracts/dea.ts';
import type { StagingMessage } from '#contracts/staging.ts';

/** A start order as the cloud controller sends it, for tests to vary. */
export function sampleStart(change: Partial<StartMessage> = {}): StartMessage {
  return {
    kind: 'LRP',
    droplet: 'process-1',
    app: 'app-1',
    version: 'v1',
    instance: crypto.randomUUID(),
    index: 0,
    process_type: 'web',
    name: 'shop',
    space_name: 'dev',
    organization_name: 'acme',
    stack: 'test',
    droplet_guid: 'droplet-1',
    droplet_uri: 'http://127.0.0.1:1/droplet',
    droplet_sha256: '0'.repeat(64),
    start_command: 'true',
    uris: [],
    internal_uris: [],
    ports: [8080],
    limits: { mem: 128, disk: 256, fds: 1024, log_rate: -1 },
    env: [],
    vcap_application: { application_id: 'app-1', application_name: 'shop' },
    vcap_services: {},
    volume_mounts: [],
    health_check: { type: 'port' },
    sidecars: [],
    egress_network_rules: [],
    cc_partition: 'default',
    ...change,
  };
}

export function sampleStaging(change: Partial<StagingMessage> = {}): StagingMessage {
  return {
    app: 'app-1',
    app_name: 'shop',
    space_name: 'dev',
    organization_name: 'acme',
    task_id: crypto.randomUUID(),
    stack: 'test',
    package_uri: 'http://127.0.0.1:1/package',
    package_sha256: '0'.repeat(64),
    droplet_upload_uri: 'http://127.0.0.1:1/upload',
    buildpacks: [],
    detect: true,
    env: [],
    vcap_application: {},
    vcap_services: {},
    memory_limit_mb: 256,
    disk_limit_mb: 512,
    timeout_s: 60,
    egress_network_rules: [],
    ...change,
  };
}
