/** The API's resources, as far as `cf` reads them. Source: cloud_controller_ng docs/v3. */

export interface Named {
  guid: string;
  name: string;
}

export interface App extends Named {
  state: 'STARTED' | 'STOPPED';
  lifecycle: { type: string; data: { buildpacks?: string[]; stack?: string } };
}

export interface Process {
  guid: string;
  type: string;
  command: string | null;
  instances: number;
  memory_in_mb: number;
  disk_in_mb: number;
  log_rate_limit_in_bytes_per_second: number;
  relationships: { app: { data: { guid: string } } };
  process_instances?: { index: number; state: string; since: number }[];
}

export interface InstanceStats {
  index: number;
  state: string;
  uptime?: number;
  mem_quota?: number | null;
  disk_quota?: number | null;
  log_rate_limit?: number | null;
  details?: string | null;
  routable?: boolean | null;
  usage?: { cpu?: number; cpu_entitlement?: number | null; mem?: number; disk?: number; log_rate?: number };
}

export interface Droplet {
  guid: string;
  state: string;
  created_at: string;
  stack: string | null;
  image: string | null;
  buildpacks:
    | { name: string; version: string | null; detect_output: string | null; buildpack_name: string | null }[]
    | null;
}

export interface Package {
  guid: string;
  type: string;
  state: string;
  created_at: string;
  data: { error?: string | null };
}

export interface Build {
  guid: string;
  state: 'STAGING' | 'STAGED' | 'FAILED';
  error: string | null;
  droplet: { guid: string } | null;
}

export interface Route {
  guid: string;
  host: string;
  path: string;
  port: number | null;
  protocol: string;
  url: string;
  destinations: { guid: string; app: { guid: string; process: { type: string } }; port: number; protocol: string }[];
  relationships: { space: { data: { guid: string } }; domain: { data: { guid: string } } };
  options?: { loadbalancing?: string };
}

export interface Domain extends Named {
  internal: boolean;
  enforce_route_policies?: boolean;
  supported_protocols: string[];
  relationships: { organization: { data: { guid: string } | null } };
}

export interface Deployment {
  guid: string;
  strategy: string;
  status: { value: string; reason: string; details?: { error?: string | null } };
  new_processes: { guid: string; type: string }[];
}
