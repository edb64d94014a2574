import type { Uaa } from '../uaa.ts';

/** The UAA version whose behaviour this is; from 4.26.0 on the cf CLI offers `--origin`. */
export const UAA_VERSION = '77.30.0';

/** What `GET /info` and `GET /login` for JSON say. Source: the reference's section 4.1. */
export function loginInfo(uaa: Uaa): object {
  const { login, uaa: own } = uaa.urls;
  return {
    app: { version: UAA_VERSION },
    links: { uaa: own, passwd: `${login}/forgot_password`, login, register: `${login}/login` },
    zone_name: 'uaa',
    entityID: new URL(login).hostname,
    commit_id: 'ingot',
    prompts: {
      username: ['text', 'Email'],
      password: ['password', 'Password'],
      passcode: ['password', `One Time Code ( Get one at ${login}/passcode )`],
    },
    timestamp: uaa.startedAt.toISOString(),
  };
}
