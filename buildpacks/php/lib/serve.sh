#!/usr/bin/env bash
# Serves the app on $PORT: php-fpm behind nginx. When one of them ends, so does the app. TERM lets requests in flight end first.
set -euo pipefail
PATH=$PATH:/usr/sbin
php=$(cd "$(dirname "$(readlink -f "$0")")/../php" && pwd)
source "$php/serve.env"
run=${TMPDIR:-/tmp}/php
rm -rf "$run"
mkdir -p "$run"

# A worker takes some 40 MB, less what all of them share.
case ${MEMORY_LIMIT:-} in
  *[0-9][gG]) memory_mb=$((${MEMORY_LIMIT%?} * 1024)) ;;
  *[0-9][mM]) memory_mb=${MEMORY_LIMIT%?} ;;
  *) memory_mb=256 ;;
esac
workers=${WEB_CONCURRENCY:-$((memory_mb / 40 < 2 ? 2 : memory_mb / 40))}
root=$HOME
[ "$web" = . ] || root=$HOME/$web
for file in nginx.conf php-fpm.conf; do
  sed -e "s|@RUN@|$run|g; s|@PORT@|$PORT|g; s|@ROOT@|$root|g; s|@FALLBACK@|$fallback|g" \
    -e "s|@WORKERS@|$workers|g; s|@SPARE@|$((workers / 2 < 1 ? 1 : workers / 2))|g" "$php/$file.in" > "$run/$file"
done

# Log lines go through pipes of our own, since an unprivileged process may not reopen the platform's.
mkfifo -m 600 "$run/access" "$run/log"
cat < "$run/access" &
readers=($!)
cat < "$run/log" >&2 &
readers+=($!)

php-fpm --fpm-config "$run/php-fpm.conf" &
fpm=$!
until [ -S "$run/php-fpm.sock" ]; do
  kill -0 "$fpm" 2> /dev/null || { wait "$fpm"; exit 1; }
  sleep 0.05
done
nginx -e stderr -p "$run/" -c "$run/nginx.conf" &
nginx=$!
# nginx first, and PHP when it has answered what nginx had taken.
trap 'stopping=yes; kill -QUIT "$nginx" 2> /dev/null || true' TERM INT QUIT

stopping= status=0
wait -n "$fpm" "$nginx" || status=$?
if [ -n "$stopping" ]; then
  while kill -0 "$nginx" 2> /dev/null; do wait "$nginx" || true; done
  status=0
else
  kill -QUIT "$nginx" 2> /dev/null || true
  [ "$status" -ne 0 ] || status=1
fi
kill -QUIT "$fpm" 2> /dev/null || true
while kill -0 "$fpm" 2> /dev/null; do wait "$fpm" || true; done
# An end of file for readers of pipes that nothing was written to.
exec 8<> "$run/access" 9<> "$run/log"
exec 8>&- 9>&-
wait "${readers[@]}" || true
exit "$status"
