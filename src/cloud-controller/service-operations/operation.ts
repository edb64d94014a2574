import { presentTime } from '../api/links.ts';
import { NOW } from '../api/statement-store.ts';
import type { OperationColumns, OperationState, OperationType } from '../tables-services.ts';

/** The last operation of an instance or a binding as the API shows it. */
export function presentOperation(row: OperationColumns): Record<string, unknown> {
  return {
    type: row.operation_type,
    state: row.operation_state,
    description: row.operation_description,
    created_at: presentTime(row.operation_created_at),
    updated_at: presentTime(row.operation_updated_at),
  };
}

/** Whether something is being done to it right now. */
export function isBusy(row: Pick<OperationColumns, 'operation_state'>): boolean {
  return row.operation_state === 'initial' || row.operation_state === 'in progress';
}

export function hasFailedCreate(row: Pick<OperationColumns, 'operation_type' | 'operation_state'>): boolean {
  return row.operation_type === 'create' && row.operation_state === 'failed';
}

/** The columns of an operation that ends well. */
export const SUCCEEDED = {
  operation_state: 'succeeded' as const,
  operation_description: 'Operation succeeded',
  operation_updated_at: NOW,
};

/** The columns of an operation that begins now. */
export function begun<Type extends OperationType>(type: Type, state: OperationState, job_guid: string | null = null) {
  const ended = state === 'succeeded' ? 'Operation succeeded' : '';
  return {
    operation_type: type,
    operation_state: state,
    operation_description: ended,
    operation_created_at: NOW,
    operation_updated_at: NOW,
    operation_job_guid: job_guid,
  };
}
