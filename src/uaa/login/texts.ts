const en = {
  sign_in: 'Sign in',
  sign_in_to: 'Sign in to continue to',
  username: 'User name',
  password: 'Password',
  forgot: 'Forgot your password?',
  sign_out: 'Sign out',
  signed_out: 'You are signed out.',
  bad_credentials: 'The user name or password is not right. Please try again.',
  locked: 'There were too many failed attempts. Please wait some minutes and try again.',
  stale: 'This page was open too long. Please try again.',
  approve_title: 'Allow access?',
  approve_text: 'would like to do this in your name:',
  allow: 'Allow',
  deny: 'Deny',
  approve_as: 'You are signed in as',
  passcode_title: 'Your one-time code',
  passcode_text:
    'Enter this code where you were asked for it, for example at “cf login --sso”. It works once, within five minutes.',
  account: 'Your account',
  change_password: 'Change password',
  old_password: 'Current password',
  old_password_wrong: 'The current password is not right. Please try again.',
  new_password: 'New password',
  new_password_again: 'New password once more',
  save: 'Save',
  password_changed: 'Your password is changed.',
  not_same: 'The two new passwords are not the same.',
  same_as_old: 'The new password has to be another one.',
  forgot_title: 'Forgot your password?',
  forgot_text: 'Enter your user name or email, and we send you a link to set a new one.',
  send: 'Send link',
  forgot_sent: 'If there is such an account, a mail with a link is on its way.',
  forgot_absent: 'This platform sends no mail. Please ask its administrator for a new password.',
  reset_title: 'Set a new password',
  reset_stale: 'This link was used already or is too old. Please ask for a new one.',
  reset_mail_subject: 'Set a new password',
  reset_mail_text: 'Somebody, we hope you, asked for a new password. Open this link within thirty minutes to set one:',
  reset_mail_ignore: 'If it was not you, ignore this mail.',
  email: 'Email',
  name: 'Name',
  last_sign_in: 'Last sign-in',
  approvals: 'Apps with access',
  approvals_none: 'No app has access to your account.',
  remove: 'Remove',
  passcode_link: 'One-time code',
  error_title: 'That did not work',
  error_text: 'The request cannot be carried out as it is:',
  error_away: 'That is our fault and not yours. Please try again in a moment:',
  back: 'Back to sign-in',
  or_with: 'Or sign in with',
  other_language: '中文',
};
export type Texts = typeof en;

const zh: Texts = {
  sign_in: '登录',
  sign_in_to: '登录以继续访问',
  username: '用户名',
  password: '密码',
  forgot: '忘记密码？',
  sign_out: '退出登录',
  signed_out: '您已退出登录。',
  bad_credentials: '用户名或密码不正确，请重试。',
  locked: '失败次数过多，请等待几分钟后再试。',
  stale: '页面打开时间过长，请重试。',
  approve_title: '是否授权访问？',
  approve_text: '希望以您的身份执行以下操作：',
  allow: '允许',
  deny: '拒绝',
  approve_as: '当前登录用户',
  passcode_title: '您的一次性验证码',
  passcode_text: '请在需要的地方（例如 “cf login --sso”）输入此验证码。五分钟内有效，仅可使用一次。',
  account: '您的账户',
  change_password: '修改密码',
  old_password: '当前密码',
  old_password_wrong: '当前密码不正确，请重试。',
  new_password: '新密码',
  new_password_again: '再次输入新密码',
  save: '保存',
  password_changed: '密码已修改。',
  not_same: '两次输入的新密码不一致。',
  same_as_old: '新密码不能与原密码相同。',
  forgot_title: '忘记密码？',
  forgot_text: '请输入用户名或电子邮箱，我们会向您发送重设密码的链接。',
  send: '发送链接',
  forgot_sent: '如果该账户存在，重设密码的邮件已经发出。',
  forgot_absent: '本平台不发送邮件，请联系管理员重设密码。',
  reset_title: '设置新密码',
  reset_stale: '此链接已使用或已过期，请重新申请。',
  reset_mail_subject: '设置新密码',
  reset_mail_text: '有人（希望是您本人）申请了新密码。请在三十分钟内打开以下链接进行设置：',
  reset_mail_ignore: '如果不是您本人操作，请忽略此邮件。',
  email: '电子邮箱',
  name: '姓名',
  last_sign_in: '上次登录',
  approvals: '已授权的应用',
  approvals_none: '没有应用可以访问您的账户。',
  remove: '移除',
  passcode_link: '一次性验证码',
  error_title: '操作未成功',
  error_text: '无法执行此请求：',
  error_away: '这是平台的问题，不是您的问题。请稍后重试：',
  back: '返回登录',
  or_with: '或使用以下方式登录',
  other_language: 'English',
};

export type Language = 'en' | 'zh';
export const TEXTS: Readonly<Record<Language, Texts>> = { en, zh };

/** The language asked for by the query (`lang`), a cookie, or the browser, in this order; English when there is none of ours. */
export function languageOf(asked: string | undefined, accept: string | undefined): Language {
  if (asked === 'en' || asked === 'zh') return asked;
  const wanted = (accept ?? '')
    .split(',')
    .map((entry) => {
      const [tag = '', ...parameters] = entry.trim().toLowerCase().split(';');
      const q = parameters.find((parameter) => parameter.trim().startsWith('q='));
      return { language: tag.split('-')[0], q: q === undefined ? 1 : Number(q.trim().slice(2)) };
    })
    .filter(({ language, q }) => (language === 'en' || language === 'zh') && q > 0)
    .sort((a, b) => b.q - a.q);
  return wanted[0]?.language === 'zh' ? 'zh' : 'en';
}
