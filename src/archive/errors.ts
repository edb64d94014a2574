import { AppError } from '#kernel/errors.ts';

/** The bytes are no archive of the kind expected, are cut short, or say something that no honest archive says. */
export class ArchiveInvalid extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('archive_invalid', message, options);
  }
}

/** An entry, or the end of a link, lies outside the folder that the archive stands for. */
export class ArchivePathEscapes extends AppError {
  readonly path: string;

  constructor(path: string, options?: ErrorOptions) {
    super('archive_path_escapes', `the archive's entry ${JSON.stringify(path)} leads out of its folder`, options);
    this.path = path;
  }
}

/** More bytes or more entries than the caller allows. */
export class ArchiveTooLarge extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('archive_too_large', message, options);
  }
}
