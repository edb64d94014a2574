import { isAlive, readEngine, recordedEngines } from './engines/record.ts';

/** The servers that tenants use, as they are on record, for an operator to see. */
export function listEngines(state_folder: string): { name: string; pid: number; isUp: boolean }[] {
  return recordedEngines(state_folder).flatMap((name) => {
    const record = readEngine(state_folder, name);
    return record ? [{ name, pid: record.pid, isUp: isAlive(record) }] : [];
  });
}
