import { CfError, type CfErrorTitle } from '#contracts/cf-errors.ts';
import { AppError } from '#kernel/errors.ts';

/** All ways in which a call of a broker ends badly. */
export type Trouble =
  | 'timed_out'
  | 'unreachable'
  | 'server_error'
  | 'unexpected_success'
  | 'malformed_ok'
  | 'malformed_accepted'
  | 'undeclared'
  | 'rejected'
  | 'unauthorized'
  | 'request_timeout'
  | 'conflict'
  | 'gone'
  | 'async_required'
  | 'concurrency'
  | 'maintenance_conflict'
  | 'app_required'
  | 'not_retrievable'
  | 'failed_later'
  | 'overdue';

interface Rule {
  title: CfErrorTitle;
  /** Whether what was to be made may be there at the broker, and is deleted. Source: OSB 2.17, "Orphan Mitigation". */
  orphan: boolean;
}

/** What each means for who asked, and for what was to be made. */
export const TROUBLES: Readonly<Record<Trouble, Rule>> = {
  timed_out: { title: 'ServiceBrokerApiTimeout', orphan: true },
  unreachable: { title: 'ServiceBrokerApiUnreachable', orphan: false },
  server_error: { title: 'ServiceBrokerBadResponse', orphan: true },
  unexpected_success: { title: 'ServiceBrokerBadResponse', orphan: true },
  malformed_ok: { title: 'ServiceBrokerResponseMalformed', orphan: false },
  malformed_accepted: { title: 'ServiceBrokerResponseMalformed', orphan: true },
  undeclared: { title: 'ServiceBrokerResponseMalformed', orphan: true },
  rejected: { title: 'ServiceBrokerBadResponse', orphan: false },
  unauthorized: { title: 'ServiceBrokerApiAuthenticationFailed', orphan: false },
  request_timeout: { title: 'ServiceBrokerBadResponse', orphan: false },
  conflict: { title: 'ServiceBrokerConflict', orphan: false },
  gone: { title: 'ServiceBrokerBadResponse', orphan: false },
  async_required: { title: 'ServiceBrokerAsyncRequired', orphan: false },
  concurrency: { title: 'ServiceBrokerConcurrencyError', orphan: false },
  maintenance_conflict: { title: 'MaintenanceInfoConflict', orphan: false },
  app_required: { title: 'ServiceBrokerBadResponse', orphan: false },
  // Made asynchronously, and its credentials cannot be asked for: of no use to anyone.
  not_retrievable: { title: 'ServiceBrokerBadResponse', orphan: true },
  failed_later: { title: 'ServiceBrokerBadResponse', orphan: true },
  overdue: { title: 'ServiceBrokerApiTimeout', orphan: true },
};

/** A call of a broker that ended badly; the message is for the user. */
export class BrokerTrouble extends AppError {
  readonly trouble: Trouble;

  constructor(trouble: Trouble, message: string, options?: ErrorOptions) {
    super(`broker_${trouble}`, message, options);
    this.trouble = trouble;
  }

  get leavesOrphan(): boolean {
    return TROUBLES[this.trouble].orphan;
  }

  /** As the API says it; without the cause, in which jobs would take a broker's refused connection for the database's. */
  toCfError(): CfError {
    return new CfError(TROUBLES[this.trouble].title, this.message);
  }
}
