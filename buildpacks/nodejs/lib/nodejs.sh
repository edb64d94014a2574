# Node's environment at run time. What the user set stays.
export NODE_HOME=$DEPS_DIR/@INDEX@/node
export NODE_ENV=${NODE_ENV:-production}
export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}
export npm_config_update_notifier=${npm_config_update_notifier:-false}
export npm_config_cache=${npm_config_cache:-${TMPDIR:-/tmp}/npm}

# MEMORY_LIMIT is the instance's, as `512m` or `1g`. Node does not look at it by itself, and would collect too late.
case ${MEMORY_LIMIT:-} in
  *[0-9][gG]) memory_mb=$((${MEMORY_LIMIT%?} * 1024)) ;;
  *[0-9][mM]) memory_mb=${MEMORY_LIMIT%?} ;;
  *) memory_mb= ;;
esac
if [ -n "$memory_mb" ]; then
  export MEMORY_AVAILABLE=$memory_mb
  export WEB_MEMORY=${WEB_MEMORY:-512}
  export WEB_CONCURRENCY=${WEB_CONCURRENCY:-1}
  case " ${NODE_OPTIONS:-} " in
    *--max-old-space-size* | *--max_old_space_size*) ;;
    *)
      if [ "${OPTIMIZE_MEMORY:-true}" != false ]; then
        export NODE_OPTIONS="${NODE_OPTIONS:+$NODE_OPTIONS }--max-old-space-size=$((memory_mb * 75 / 100))"
      fi
      ;;
  esac
fi
unset memory_mb
