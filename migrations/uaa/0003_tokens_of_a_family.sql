-- Which access token came with a refresh token, or out of a code: it ends when its family does.
alter table refresh_tokens add column access_jti text, add column access_expires_at timestamptz;
alter table authorization_codes add column access_jti text, add column tokens_expire_at timestamptz;
