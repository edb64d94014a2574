/**
 * Cloud Foundry's error catalogue, as far as we raise it: title → code and HTTP status. On the wire an error is
 * `{"errors":[{"code":10010,"title":"CF-ResourceNotFound","detail":"App not found"}]}`. Source: cloud_controller_ng's
 * errors/v2.yml and docs/v3; the texts that the cf CLI compares are in the places that raise them.
 */
import { AppError } from '#kernel/errors.ts';

export const CF_ERRORS = {
  InvalidAuthToken: { code: 1000, status: 401 },
  MessageParseError: { code: 1001, status: 400 },
  InvalidRelation: { code: 1002, status: 400 },
  BadRequest: { code: 1004, status: 400 },
  NotFound: { code: 10000, status: 404 },
  ServerError: { code: 10001, status: 500 },
  NotAuthenticated: { code: 10002, status: 401 },
  NotAuthorized: { code: 10003, status: 403 },
  InvalidRequest: { code: 10004, status: 400 },
  BadQueryParameter: { code: 10005, status: 400 },
  AssociationNotEmpty: { code: 10006, status: 400 },
  InsufficientScope: { code: 10007, status: 403 },
  UnprocessableEntity: { code: 10008, status: 422 },
  UnableToPerform: { code: 10009, status: 400 },
  ResourceNotFound: { code: 10010, status: 404 },
  DatabaseError: { code: 10011, status: 500 },
  OrderByParameterInvalid: { code: 10012, status: 500 },
  RateLimitExceeded: { code: 10013, status: 429 },
  ServiceUnavailable: { code: 10015, status: 503 },
  OrgSuspended: { code: 10017, status: 403 },
  ResourceBeingDeleted: { code: 10020, status: 422 },
  PayloadTooLarge: { code: 10022, status: 413 },
  UaaUnavailable: { code: 20004, status: 503 },
  DomainInvalid: { code: 130001, status: 400 },
  AppBitsUploadInvalid: { code: 160001, status: 400 },
  AppPackageInvalid: { code: 150001, status: 400 },
  InsufficientRunningResourcesAvailable: { code: 150003, status: 503 },
  PackageBitsAlreadyUploaded: { code: 150004, status: 400 },
  BlobstoreError: { code: 150006, status: 500 },
  BlobstoreUnavailable: { code: 150007, status: 502 },
  AppBitsCopyInvalid: { code: 160002, status: 400 },
  AppResourcesFileModeInvalid: { code: 160003, status: 400 },
  AppResourcesFilePathInvalid: { code: 160004, status: 400 },
  StagingError: { code: 170001, status: 400 },
  NotStaged: { code: 170002, status: 400 },
  NoAppDetectedError: { code: 170003, status: 400 },
  BuildpackCompileFailed: { code: 170004, status: 400 },
  BuildpackReleaseFailed: { code: 170005, status: 400 },
  NoBuildpacksFound: { code: 170006, status: 400 },
  StagingTimeExpired: { code: 170007, status: 504 },
  InsufficientResources: { code: 170008, status: 400 },
  StagerUnavailable: { code: 170010, status: 503 },
  StagingInProgress: { code: 170017, status: 422 },
  InvalidTaskAddress: { code: 170018, status: 500 },
  TaskError: { code: 170019, status: 500 },
  TaskWorkersUnavailable: { code: 170020, status: 503 },
  StatsUnavailable: { code: 200002, status: 503 },
  RouteHostTaken: { code: 210003, status: 400 },
  StackNotFound: { code: 250003, status: 404 },
  BuildpackInvalid: { code: 290003, status: 400 },
  JobTimeout: { code: 290006, status: 524 },
  AppMemoryQuotaExceeded: { code: 100005, status: 400 },
  // What brokers get wrong has a title of its own and the general code.
  ServiceBrokerBadResponse: { code: 10001, status: 502 },
  ServiceBrokerResponseMalformed: { code: 10001, status: 502 },
  ServiceBrokerApiUnreachable: { code: 10001, status: 502 },
  ServiceBrokerApiAuthenticationFailed: { code: 10001, status: 502 },
  ServiceBrokerApiTimeout: { code: 10001, status: 504 },
  ServiceBrokerConflict: { code: 10001, status: 409 },
  AsyncServiceInstanceOperationInProgress: { code: 60016, status: 409 },
  UnbindableService: { code: 90005, status: 400 },
  ServiceFetchBindingParametersNotSupported: { code: 90007, status: 400 },
  AsyncServiceBindingOperationInProgress: { code: 90008, status: 409 },
  ServicePlanNotUpdateable: { code: 110004, status: 400 },
  ServiceFetchInstanceParametersNotSupported: { code: 120004, status: 400 },
  // 400 in the catalogue, and 422 in v3, where the cf CLI looks for it.
  ServiceInstanceAlreadyBoundToSameRoute: { code: 130008, status: 422 },
  ServiceBrokerNotRemovable: { code: 270010, status: 422 },
  ServiceBrokerCatalogInvalid: { code: 270012, status: 502 },
  ServiceBrokerAsyncRequired: { code: 270014, status: 400 },
  ServiceBrokerConcurrencyError: { code: 270018, status: 422 },
  ServiceBrokerRequestRejected: { code: 270020, status: 502 },
  ServiceBrokerRequestMalformed: { code: 270021, status: 502 },
  SharedServiceInstanceCannotBeRenamed: { code: 390003, status: 422 },
  ServiceInstanceUnshareFailed: { code: 390001, status: 502 },
  MaintenanceInfoNotSupported: { code: 390006, status: 422 },
  MaintenanceInfoNotUpdatableWhenChangingPlan: { code: 390008, status: 422 },
  MaintenanceInfoConflict: { code: 390009, status: 422 },
  FeatureDisabled: { code: 330002, status: 403 },
} as const satisfies Record<string, { code: number; status: number }>;
export type CfErrorTitle = keyof typeof CF_ERRORS;

/** An error of the cloud controller's API. Several details make several items, as validation errors do. */
export class CfError extends AppError {
  readonly title: CfErrorTitle;
  readonly details: readonly string[];

  constructor(title: CfErrorTitle, detail: string | readonly string[], options?: ErrorOptions) {
    const details = typeof detail === 'string' ? [detail] : detail;
    super(`cf_${title}`, details.join('; '), options);
    this.title = title;
    this.details = details;
  }

  get status(): number {
    return CF_ERRORS[this.title].status;
  }

  /** The body of the answer. */
  toJSON(): { errors: { code: number; title: string; detail: string }[] } {
    const { code } = CF_ERRORS[this.title];
    return { errors: this.details.map((detail) => ({ code, title: `CF-${this.title}`, detail })) };
  }
}

/** `422 CF-UnprocessableEntity`, the form of every refused input. */
export const unprocessable = (detail: string | readonly string[]): CfError =>
  new CfError('UnprocessableEntity', detail);
/** `404 CF-ResourceNotFound` with the text that the CLI compares: `App not found`. */
export const notFound = (resource: string): CfError => new CfError('ResourceNotFound', `${resource} not found`);
