import { resolve } from 'node:path';
import type { TestContext } from 'node:test';

/** Compares a page of docs/ with what it should be; `npm run docs` writes it instead. */
export function holdPage(t: TestContext, name: string, text: string): void {
  try {
    t.assert.fileSnapshot(text, resolve(import.meta.dirname, '../../docs', name), { serializers: [String] });
  } catch (error) {
    throw new Error(`docs/${name} is not what the tests see: run "npm run docs" and commit it`, { cause: error });
  }
}
