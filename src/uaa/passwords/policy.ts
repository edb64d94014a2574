import type { UaaConfig } from '../config.ts';

export type PasswordPolicy = UaaConfig['password_policy'];

/** What is wrong with a new password, as UAA words it, or undefined. */
export function passwordFault(password: string, policy: PasswordPolicy): string | undefined {
  const faults: string[] = [];
  const length = Array.from(password).length;
  if (length < policy.min_length) faults.push(`Password must be at least ${policy.min_length} characters in length.`);
  if (length > policy.max_length)
    faults.push(`Password must be no more than ${policy.max_length} characters in length.`);
  const kinds: [number, RegExp, string][] = [
    [policy.uppercase, /\p{Lu}/gu, 'uppercase'],
    [policy.lowercase, /\p{Ll}/gu, 'lowercase'],
    [policy.digits, /\p{Nd}/gu, 'digit'],
    [policy.special, /[^\p{L}\p{Nd}]/gu, 'special'],
  ];
  for (const [least, pattern, name] of kinds) {
    if ((password.match(pattern)?.length ?? 0) < least) {
      faults.push(`Password must contain at least ${least} ${name} characters.`);
    }
  }
  if (password.includes('\0')) faults.push('Password must not contain a null character.');
  return faults.length === 0 ? undefined : faults.join(' ');
}
