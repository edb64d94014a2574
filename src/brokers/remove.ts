export { endRecorded as endEngines } from './engines/record.ts';
