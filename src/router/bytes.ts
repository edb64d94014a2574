/** Classes of bytes as RFC 9110 and 9112 draw them: one table look-up answers whether a byte may stand where it stands. */

export const CR = 13;
export const LF = 10;
export const SP = 32;
export const TAB = 9;
export const COLON = 58;
export const UNDERSCORE = 95;

function table(allows: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (allows(byte) ? 1 : 0));
}

const inText = (text: string): ((byte: number) => boolean) => {
  const bytes = new Set(Array.from(text, (char) => char.charCodeAt(0)));
  return (byte) => bytes.has(byte);
};

const LETTERS_AND_DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** RFC 9110 5.6.2: what methods and field names are made of. */
export const IS_TOKEN = table(inText(`${LETTERS_AND_DIGITS}!#$%&'*+-.^_\`|~`));
/** RFC 9110 5.5: field values; tab and bytes above ASCII may occur, no other control byte. */
export const IS_FIELD = table((byte) => byte === TAB || (byte >= SP && byte !== 127));
/** Request targets: visible ASCII without `#`, since a fragment never travels. */
export const IS_TARGET = table((byte) => byte > SP && byte < 127 && byte !== 35);
/** Names of hosts as they are registered and looked up; percent-encoding and sub-delimiters have no use here. */
export const IS_HOST = table(inText(`${LETTERS_AND_DIGITS}-._`));
/** Inside the brackets of an IPv6 literal. */
export const IS_IPV6 = table(inText('0123456789abcdefABCDEF:.'));
/** Chunk extensions: visible ASCII, space and tab. */
export const IS_EXTENSION = table((byte) => byte === TAB || (byte >= SP && byte < 127));

/** Value of a hex digit; 255 for any other byte. */
export const HEX_VALUE = Uint8Array.from({ length: 256 }, (_, byte) => {
  const value = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(value) ? 255 : value;
});

export function isDigit(byte: number): boolean {
  return byte >= 48 && byte <= 57;
}
