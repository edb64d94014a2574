-- For `sw`: the order of the letters' codes, whatever collation the database has.
create index users_user_name_prefix on users (lower(user_name) text_pattern_ops);
create index users_email_prefix on users (lower(email) text_pattern_ops);
