import type { z } from 'zod';
import type { StagingErrorCode } from '#contracts/staging.ts';
import { AppError } from '#kernel/errors.ts';

/** A build ended without a droplet; `staging_code` and message are what the user is shown. */
export class StagingFailed extends AppError {
  readonly staging_code: z.output<typeof StagingErrorCode>;

  constructor(staging_code: z.output<typeof StagingErrorCode>, message: string, options?: ErrorOptions) {
    super('staging_failed', message, options);
    this.staging_code = staging_code;
  }
}

/** What `lifecycle/stage.sh` ends with, in Cloud Foundry's words. */
const FAILURES: Readonly<Record<number, () => StagingFailed>> = {
  222: () => new StagingFailed('NoAppDetectedError', 'An app was not successfully detected by any available buildpack'),
  223: () => new StagingFailed('BuildpackCompileFailed', 'App staging failed in the buildpack compile phase'),
  224: () => new StagingFailed('BuildpackReleaseFailed', 'App staging failed in the buildpack release phase'),
  225: () => new StagingFailed('BuildpackCompileFailed', 'App staging failed in the buildpack supply phase'),
  226: () => new StagingFailed('BuildpackCompileFailed', 'App staging failed in the buildpack finalize phase'),
  227: () => new StagingFailed('StagingError', 'Staging error: a buildpack could not be used'),
};

export function failureOfExit(exit_status: number, oom: boolean): StagingFailed {
  if (oom) return new StagingFailed('StagingError', 'Staging error: the staging container ran out of memory');
  return (
    FAILURES[exit_status]?.() ??
    new StagingFailed('StagingError', `Staging error: staging failed with exit status ${exit_status}`)
  );
}
