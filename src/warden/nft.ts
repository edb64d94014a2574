import koffi from 'koffi';

/**
 * nftables through its own library: a change takes 0.1 to 2 ms in the process, and 10 by the command. Each call is one
 * transaction: all of the text holds, or nothing does.
 */
interface Library {
  run: (context: unknown, text: string) => number;
  errors: (context: unknown) => string;
  output: (context: unknown) => string;
  context: unknown;
}

let library: Library | undefined;

function load(): Library {
  const lib = koffi.load('libnftables.so.1');
  const create = lib.func('void *nft_ctx_new(uint32_t flags)') as (flags: number) => unknown;
  const bufferOutput = lib.func('int nft_ctx_buffer_output(void *context)') as (context: unknown) => number;
  const bufferErrors = lib.func('int nft_ctx_buffer_error(void *context)') as (context: unknown) => number;
  const context = create(0);
  if (bufferOutput(context) !== 0 || bufferErrors(context) !== 0) throw new Error('libnftables gives no buffers');
  return {
    context,
    run: lib.func('int nft_run_cmd_from_buffer(void *context, const char *text)') as Library['run'],
    errors: lib.func('const char *nft_ctx_get_error_buffer(void *context)') as Library['errors'],
    output: lib.func('const char *nft_ctx_get_output_buffer(void *context)') as Library['output'],
  };
}

/** Carries out nft commands, and gives what they print. Errors: with nft's own words. */
export function nft(text: string): string {
  library ??= load();
  const status = library.run(library.context, text);
  const output = library.output(library.context);
  const errors = library.errors(library.context);
  if (status !== 0) throw new Error(`nftables refused: ${errors.trim().slice(0, 500)}`);
  return output;
}
