import type { ServiceBindingFiles } from '#contracts/dea.ts';
import { AppError } from '#kernel/errors.ts';
import type { VcapServices } from './vcap-services.ts';

/** Bindings that cannot be told as files; the message is for the user. */
export class BindingsUnfitForFiles extends AppError {
  constructor(message: string) {
    super('bindings_unfit_for_files', message);
  }
}

const MAX_BYTES = 1_000_000;
const BINDING_NAME = /^[a-z0-9\-.]{1,253}$/;
const FILE_NAME = /^[a-z0-9\-._]{1,253}$/;

/**
 * The files of an app's bindings, when it asked for them: a folder for each binding with a file for each credential and attribute,
 * as servicebinding.io says, or one file with VCAP_SERVICES. Source: cloud_controller_ng, "service binding files". Errors:
 * BindingsUnfitForFiles.
 */
export function bindingFiles(
  services: VcapServices,
  app: { service_binding_k8s_enabled: boolean; file_based_vcap_services_enabled: boolean },
): ServiceBindingFiles | undefined {
  if (app.service_binding_k8s_enabled) {
    return bounded({ variable: 'SERVICE_BINDING_ROOT', files: foldersOf(Object.values(services).flat()) });
  }
  if (app.file_based_vcap_services_enabled) {
    return bounded({ variable: 'VCAP_SERVICES_FILE_PATH', files: { vcap_services: JSON.stringify(services) } });
  }
  return undefined;
}

function foldersOf(bindings: readonly Record<string, unknown>[]): Record<string, string> {
  const files: Record<string, string> = {};
  const names = new Set<string>();
  for (const { credentials, ...attributes } of bindings) {
    const name = String(attributes['name']);
    if (!BINDING_NAME.test(name)) {
      throw new BindingsUnfitForFiles(`Invalid binding name: '${name}'. Name must match ${BINDING_NAME.source}`);
    }
    if (names.has(name)) throw new BindingsUnfitForFiles(`Duplicate binding name: ${name}`);
    names.add(name);
    const label = attributes['label'];
    // What the platform says of a binding stands above a credential of the same name.
    const all = { ...(credentials as Record<string, unknown>), ...attributes, type: label, provider: label };
    for (const [key, value] of Object.entries(all)) {
      if (!FILE_NAME.test(key) || key === '.' || key === '..')
        throw new BindingsUnfitForFiles(`Invalid file name: ${key}`);
      const content = contentOf(value);
      if (content !== undefined) files[`${name}/${key}`] = content;
    }
  }
  return files;
}

/** Nothing at all is no file. */
function contentOf(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'object' && Object.keys(value).length === 0) return undefined;
  return JSON.stringify(value);
}

function bounded(given: ServiceBindingFiles): ServiceBindingFiles {
  const bytes = Object.entries(given.files).reduce(
    (sum, [path, content]) => sum + Buffer.byteLength(path) + Buffer.byteLength(content),
    0,
  );
  if (bytes <= MAX_BYTES) return given;
  throw new BindingsUnfitForFiles(`Bindings exceed the maximum allowed bytesize of ${MAX_BYTES}: ${bytes}`);
}
