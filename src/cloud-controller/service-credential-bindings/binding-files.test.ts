import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bindingFiles, BindingsUnfitForFiles } from './binding-files.ts';

const db = {
  label: 'postgresql',
  name: 'db',
  plan: 'small',
  tags: ['sql'],
  binding_name: null,
  volume_mounts: [],
  credentials: { uri: 'postgres://x', port: 5432, label: 'hidden', empty: {} },
};
const k8s = { service_binding_k8s_enabled: true, file_based_vcap_services_enabled: false };
const file = { service_binding_k8s_enabled: false, file_based_vcap_services_enabled: true };
const unfit = (services: Parameters<typeof bindingFiles>[0], message: RegExp): void =>
  assert.throws(
    () => bindingFiles(services, k8s),
    (error) => error instanceof BindingsUnfitForFiles && message.test(error.message),
  );

describe('files of service bindings', () => {
  it('are none unless the app asked for them', () => {
    assert.equal(bindingFiles({ postgresql: [db] }, { ...k8s, service_binding_k8s_enabled: false }), undefined);
  });

  it('are a folder for each binding: credentials, what the platform says above them, and no empty thing', () => {
    assert.deepEqual(bindingFiles({ postgresql: [db] }, k8s), {
      variable: 'SERVICE_BINDING_ROOT',
      files: {
        'db/uri': 'postgres://x',
        'db/port': '5432',
        'db/label': 'postgresql',
        'db/name': 'db',
        'db/plan': 'small',
        'db/tags': '["sql"]',
        'db/type': 'postgresql',
        'db/provider': 'postgresql',
      },
    });
  });

  it('are one file with VCAP_SERVICES', () => {
    const services = { postgresql: [db] };
    assert.deepEqual(bindingFiles(services, file), {
      variable: 'VCAP_SERVICES_FILE_PATH',
      files: { vcap_services: JSON.stringify(services) },
    });
  });

  it('are refused where names are no names of files, stand twice, or it is too much', () => {
    unfit({ postgresql: [{ ...db, name: 'My DB' }] }, /Invalid binding name: 'My DB'/);
    unfit({ postgresql: [db, db] }, /Duplicate binding name: db/);
    unfit({ postgresql: [{ ...db, credentials: { '../x': '1' } }] }, /Invalid file name/);
    unfit({ postgresql: [{ ...db, credentials: { '..': '1' } }] }, /Invalid file name/);
    unfit({ postgresql: [{ ...db, credentials: { x: 'x'.repeat(1_000_000) } }] }, /exceed the maximum/);
  });
});
