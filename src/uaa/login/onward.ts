/** The path to go on to after a sign-in: one of our own two, so that a link to us leads nowhere else; else an empty text. */
export function onwardOf(text: string | undefined): string {
  return text !== undefined && /^\/(oauth\/authorize\?[\x21-\x7e]*|passcode)$/.test(text) ? text : '';
}
