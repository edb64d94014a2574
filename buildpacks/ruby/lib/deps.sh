# What every buildpack here shares; each has its own copy, because a buildpack travels alone as a zip.
# The layout is Cloud Foundry's: DEPS_DIR/<index>/{bin,lib,include,pkgconfig,env,profile.d} of each buildpack of the app.

# Debian keeps servers such as nginx in sbin, which not every PATH has.
PATH=$PATH:/usr/sbin:/sbin
buildpack_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

step() { echo "-----> $*"; }
note() { echo "       $*"; }
indent() { sed -u 's/^/       /'; }

fail() {
  echo "       **ERROR** $1" >&2
  shift
  for line in "$@"; do echo "       $line" >&2; done
  exit 1
}

# prepend NAME FOLDER: puts FOLDER first in the colon list that the variable NAME is.
prepend() {
  local old=${!1:-}
  export "$1=$2${old:+:$old}"
}

# The environment of staging: what the buildpacks before this one, and this one, have put into DEPS_DIR.
use_deps() {
  local dep file
  for dep in "$1"/*/; do
    dep=${dep%/}
    [ -d "$dep/bin" ] && prepend PATH "$dep/bin"
    [ -d "$dep/lib" ] && prepend LD_LIBRARY_PATH "$dep/lib" && prepend LIBRARY_PATH "$dep/lib"
    [ -d "$dep/include" ] && prepend CPATH "$dep/include"
    [ -d "$dep/pkgconfig" ] && prepend PKG_CONFIG_PATH "$dep/pkgconfig"
    for file in "$dep"/env/*; do
      [ -f "$file" ] && export "$(basename "$file")=$(cat "$file")"
    done
  done
  return 0
}

# The environment of run time, as scripts in PROFILE_D_DIR: the last buildpack of an app does it for all of them.
write_profile() {
  local deps=$1 profile_d=$2 dep index script
  mkdir -p "$profile_d"
  {
    echo ': "${DEPS_DIR:=/home/vcap/deps}"; export DEPS_DIR'
    for dep in "$deps"/*/; do
      index=$(basename "$dep")
      [ -d "$dep/bin" ] && echo "export PATH=\"\$DEPS_DIR/$index/bin:\$PATH\""
      [ -d "$dep/lib" ] && echo "export LD_LIBRARY_PATH=\"\$DEPS_DIR/$index/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}\""
    done
    true
  } > "$profile_d/000_multi-supply.sh"
  for script in "$deps"/*/profile.d/*; do
    [ -f "$script" ] || continue
    index=$(basename "$(dirname "$(dirname "$script")")")
    cp "$script" "$profile_d/${index}_$(basename "$script")"
  done
}

# What the platform reads to say which buildpack, in which version, took part.
write_config() {
  printf -- '---\nname: %s\nversion: %s\nconfig: {}\n' "$2" "$(cat "$buildpack_dir/VERSION")" > "$1/config.yml"
}

# compile BUILD_DIR CACHE_DIR: supply and finalize for a platform that knows only the older contract; deps then lie in the app.
compile() {
  local build=$1 cache=$2 deps=$1/.cloudfoundry
  mkdir -p "$deps/0" "$cache" "$build/.profile.d"
  "$buildpack_dir/bin/supply" "$build" "$cache" "$deps" 0
  "$buildpack_dir/bin/finalize" "$build" "$cache" "$deps" 0 "$build/.profile.d"
  echo 'export DEPS_DIR="$HOME/.cloudfoundry"' > "$build/.profile.d/000_deps-dir.sh"
}
