# Java's environment at run time. What the user set stays.
export JAVA_HOME=$DEPS_DIR/@INDEX@/java
libraries=@LIBRARIES@
debian=$DEPS_DIR/@INDEX@/debian
export LD_LIBRARY_PATH=$debian/${libraries//:/:$debian/}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
unset libraries debian

# Of MEMORY_LIMIT (`512m`, `1g`) the heap gets what threads, code, classes and buffers leave; an app that knows better says
# -Xmx in JAVA_OPTS.
case ${MEMORY_LIMIT:-} in
  *[0-9][gG]) memory_mb=$((${MEMORY_LIMIT%?} * 1024)) ;;
  *[0-9][mM]) memory_mb=${MEMORY_LIMIT%?} ;;
  *) memory_mb= ;;
esac
case " ${JAVA_OPTS:-} " in
  *' -Xmx'* | *' -XX:MaxRAMPercentage='*) memory_mb= ;;
esac
if [ -n "$memory_mb" ]; then
  metaspace_mb=$((memory_mb / 5 < 48 ? 48 : (memory_mb / 5 > 192 ? 192 : memory_mb / 5)))
  code_mb=$((memory_mb / 10 < 24 ? 24 : (memory_mb / 10 > 128 ? 128 : memory_mb / 10)))
  other_mb=$((memory_mb / 8 < 32 ? 32 : memory_mb / 8))
  heap_mb=$((memory_mb - metaspace_mb - code_mb - other_mb))
  if [ "$heap_mb" -lt 16 ]; then
    echo "Java needs more memory than $MEMORY_LIMIT: give the app 128M at least (cf scale APP -m 256M)" >&2
    heap_mb=16
  fi
  export JAVA_OPTS="-Xmx${heap_mb}m -XX:MaxMetaspaceSize=${metaspace_mb}m -XX:ReservedCodeCacheSize=${code_mb}m -Xss512k -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError${JAVA_OPTS:+ $JAVA_OPTS}"
fi
export JAVA_OPTS=${JAVA_OPTS:--XX:+ExitOnOutOfMemoryError}
unset memory_mb metaspace_mb code_mb other_mb heap_mb
