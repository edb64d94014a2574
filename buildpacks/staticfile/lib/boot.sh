#!/usr/bin/env bash
# Starts nginx on $PORT. Access lines go to standard output by a pipe of our own, since an unprivileged process may not
# reopen the platform's; errors go to standard error. TERM lets requests in flight end first.
set -euo pipefail
PATH=$PATH:/usr/sbin
app=${HOME:-/home/vcap/app}
run=$app/nginx/run
mkdir -p "$run" "$app/nginx/logs"

conf=$(< "$app/nginx/conf/nginx.conf.in")
while [[ $conf =~ @@([A-Za-z_][A-Za-z0-9_]*)@@ ]]; do
  name=${BASH_REMATCH[1]}
  if [ "$name" = APP_ROOT ]; then value=$app; else value=${!name:-}; fi
  conf=${conf//"@@$name@@"/"$value"}
done
printf '%s\n' "$conf" > "$run/nginx.conf"
nginx=(nginx -e stderr -p "$app/nginx/" -c "$run/nginx.conf")

if [ -n "${BOOT_CHECK:-}" ]; then
  : > "$run/access.log"
  # The answer "syntax is ok" is no news; anything else is.
  said=$("${nginx[@]}" -t 2>&1) || { printf '%s\n' "$said" >&2; exit 1; }
  exit 0
fi

rm -f "$run/access.log"
mkfifo -m 600 "$run/access.log"
cat < "$run/access.log" &
reader=$!
"${nginx[@]}" &
server=$!
trap 'kill -QUIT "$server" 2> /dev/null' TERM INT QUIT

status=0
wait "$server" || status=$?
while kill -0 "$server" 2> /dev/null; do
  # A signal ended that wait early.
  status=0
  wait "$server" || status=$?
done
# Opens and closes the pipe once: the end of file for a reader that nginx's configuration gave no log to.
exec 9<> "$run/access.log"
exec 9>&-
wait "$reader" || true
exit "$status"
