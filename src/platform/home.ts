import { chmodSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Where all state of one platform on this machine lives: `INGOT_HOME`, or /var/lib/ingot. */
export class Home {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = resolve(folder);
  }

  static fromEnvironment(environment: NodeJS.ProcessEnv): Home {
    return new Home(environment['INGOT_HOME'] ?? '/var/lib/ingot');
  }

  get settings(): string {
    return join(this.folder, 'platform.yml');
  }
  get ports(): string {
    return join(this.folder, 'ports.json');
  }
  get secrets(): string {
    return join(this.folder, 'secrets.json');
  }
  /** One YAML per component, written at each start. */
  get config(): string {
    return join(this.folder, 'config');
  }
  get certificates(): string {
    return join(this.folder, 'certificates');
  }
  get postgres(): string {
    return join(this.folder, 'postgres');
  }
  get nats(): string {
    return join(this.folder, 'nats');
  }
  get blobs(): string {
    return join(this.folder, 'blobs');
  }
  get stacks(): string {
    return join(this.folder, 'stacks');
  }
  get buildpacks(): string {
    return join(this.folder, 'buildpacks');
  }
  get warden(): string {
    return join(this.folder, 'warden');
  }
  get dea(): string {
    return join(this.folder, 'dea');
  }
  get loggregator(): string {
    return join(this.folder, 'loggregator');
  }
  /** Data of the services that our brokers make, and which of their servers run. */
  get services(): string {
    return join(this.folder, 'services');
  }
  /** What of our brokers the marketplace has been given. */
  get offered(): string {
    return join(this.folder, 'offered.json');
  }
  get logs(): string {
    return join(this.folder, 'logs');
  }
  /** Sockets and records of running processes. */
  get run(): string {
    return join(this.folder, 'run');
  }
  get wardenSocket(): string {
    return join(this.run, 'warden.sock');
  }
  /** `CF_HOME` of the platform's own first push. */
  get cfHome(): string {
    return join(this.folder, 'cf-home');
  }
  /** Says that the first start went all the way. */
  get welcomed(): string {
    return join(this.folder, 'welcomed');
  }

  /** Makes the folders that hold nothing but our own files. The home is readable by its owner alone, save what PostgreSQL needs. */
  prepare(): void {
    // PostgreSQL runs as a user of its own and has to pass through.
    mkdirSync(this.folder, { recursive: true });
    chmodSync(this.folder, 0o711);
    for (const folder of [
      this.config,
      this.certificates,
      this.nats,
      this.blobs,
      this.stacks,
      this.buildpacks,
      this.warden,
      this.dea,
      this.loggregator,
      this.logs,
      this.run,
      this.cfHome,
    ]) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    }
  }
}

/** The root of the checkout that this code stands in. */
export const projectRoot = resolve(import.meta.dirname, '../..');
