#!/bin/bash
# Runs inside the staging container, as vcap: turns /tmp/app into what a droplet holds, with buildpacks of Cloud Foundry's
# layout. It needs bash, coreutils, tar and gzip of the stack, and git for buildpacks that are repositories.
# Source: docs.cloudfoundry.org, custom buildpacks; exit codes as buildpackapplifecycle has them.
#
#   stage.sh build detect|given BUILDPACK…   runs the buildpacks, in order; BUILDPACK is a folder, or git:URL[#BRANCH]
#   stage.sh fetch URL FILE                  downloads a buildpack's zip, for the cell to look at and unpack
#   stage.sh pack STAGING_INFO               makes /tmp/droplet.tgz, and /tmp/cache.packed unless the cache is empty
#
# What the cell needs to know of a build is left in /tmp/result: `chosen` (the buildpacks' places in the list, a line each),
# `<place>.detected`, `<place>.version`, `<place>.config.yml`, `<place>.launch.yml`, `release.yml`, `Procfile`.
set -u

root=${STAGING_ROOT:-/tmp}
unset STAGING_ROOT
app=$root/app cache=$root/cache deps=$root/deps profile=$root/profile.d result=$root/result

NOT_DETECTED=222 COMPILE_FAILED=223 RELEASE_FAILED=224 SUPPLY_FAILED=225 FINALIZE_FAILED=226 UNUSABLE=227

fail() {
  local status=$1
  shift
  echo "$*" >&2
  exit "$status"
}

# The folder of a buildpack; a repository is cloned first.
folder_of() {
  local place=$1 what=$2
  case $what in
    git:*)
      local url=${what#git:} branch=()
      if [[ $url == *'#'* ]]; then
        branch=(--branch "${url##*#}")
        url=${url%#*}
      fi
      GIT_TERMINAL_PROMPT=0 git clone --quiet --depth 1 --recursive "${branch[@]}" -- "$url" "$root/cloned/$place" >&2 ||
        fail $UNUSABLE "Failed to clone the buildpack $url"
      echo "$root/cloned/$place"
      ;;
    *) echo "$what" ;;
  esac
}

# Tools of the buildpacks before this one: what each has put below its deps folder.
use_deps() {
  local upto=$1 place folder file
  for ((place = 0; place < upto; place++)); do
    folder=$deps/$place
    [ -d "$folder/bin" ] && PATH=$folder/bin:$PATH
    [ -d "$folder/lib" ] && LD_LIBRARY_PATH=$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} &&
      LIBRARY_PATH=$folder/lib${LIBRARY_PATH:+:$LIBRARY_PATH}
    [ -d "$folder/include" ] && CPATH=$folder/include${CPATH:+:$CPATH}
    [ -d "$folder/pkgconfig" ] && PKG_CONFIG_PATH=$folder/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
    for file in "$folder"/env/*; do
      [ -f "$file" ] && export "$(basename "$file")=$(cat "$file")"
    done
  done
  export PATH
  [ -n "${LD_LIBRARY_PATH:-}" ] && export LD_LIBRARY_PATH LIBRARY_PATH
  [ -n "${CPATH:-}" ] && export CPATH
  [ -n "${PKG_CONFIG_PATH:-}" ] && export PKG_CONFIG_PATH
  return 0
}

# A cache folder of its own for each buildpack, that stays the same from one build to the next.
cache_of() {
  local folder
  folder=$cache/$(printf %s "$1" | md5sum | cut -c 1-32)
  mkdir -p "$folder"
  echo "$folder"
}

supply() {
  local index=$1 folder=$2 where=$3
  mkdir -p "$deps/$index"
  "$folder/bin/supply" "$app" "$where" "$deps" "$index"
}

build() {
  local mode=$1 index place folder last version
  shift
  local given=("$@") chosen=() folders=()
  mkdir -p "$cache" "$deps" "$profile" "$result"

  if [ "$mode" = detect ]; then
    for place in "${!given[@]}"; do
      folder=$(folder_of "$place" "${given[$place]}") || exit $?
      [ -f "$folder/bin/detect" ] || continue
      if detected=$("$folder/bin/detect" "$app" 2>/dev/null); then
        printf '%s' "$detected" >"$result/$place.detected"
        chosen=("$place") folders=("$folder")
        break
      fi
    done
    [ ${#chosen[@]} -gt 0 ] || fail $NOT_DETECTED 'None of the buildpacks detected a compatible application'
  else
    for place in "${!given[@]}"; do
      folder=$(folder_of "$place" "${given[$place]}") || exit $?
      chosen+=("$place") folders+=("$folder")
    done
    # With one buildpack its detect still says what it calls itself; whether it accepts does not matter.
    if [ ${#chosen[@]} -eq 1 ] && [ -f "${folders[0]}/bin/detect" ]; then
      if detected=$("${folders[0]}/bin/detect" "$app" 2>/dev/null); then
        printf '%s' "$detected" >"$result/0.detected"
      fi
    fi
  fi

  last=$((${#chosen[@]} - 1))
  for index in "${!chosen[@]}"; do
    folder=${folders[$index]}
    printf '%s\n' "${chosen[$index]}" >>"$result/chosen"
    [ -f "$folder/VERSION" ] && head -c 100 "$folder/VERSION" >"$result/${chosen[$index]}.version"
    (
      use_deps "$index"
      if [ "$index" -lt "$last" ]; then
        [ -f "$folder/bin/supply" ] || fail $SUPPLY_FAILED 'Only the last buildpack may do without bin/supply'
        supply "$index" "$folder" "$(cache_of "${given[${chosen[$index]}]}")" || fail $SUPPLY_FAILED 'Failed to run all supply scripts'
        exit 0
      fi
      mkdir -p "$cache/final" "$deps/$index"
      if [ -f "$folder/bin/finalize" ]; then
        if [ -f "$folder/bin/supply" ]; then
          supply "$index" "$folder" "$cache/final" || fail $SUPPLY_FAILED 'Failed to run all supply scripts'
        fi
        "$folder/bin/finalize" "$app" "$cache/final" "$deps" "$index" "$profile" ||
          fail $FINALIZE_FAILED 'Failed to run finalize script'
      elif [ -f "$folder/bin/compile" ]; then
        "$folder/bin/compile" "$app" "$cache/final" "$(env_folder)" || fail $COMPILE_FAILED 'Failed to compile droplet'
      else
        fail $UNUSABLE 'The buildpack has neither bin/finalize nor bin/compile'
      fi
    ) || exit $?
  done

  folder=${folders[$last]}
  if [ -f "$folder/bin/release" ]; then
    "$folder/bin/release" "$app" >"$result/release.yml" || fail $RELEASE_FAILED 'Failed to build droplet release'
  fi
  for index in "${!chosen[@]}"; do
    for file in config.yml launch.yml; do
      [ -f "$deps/$index/$file" ] && cp "$deps/$index/$file" "$result/${chosen[$index]}.$file"
    done
  done
  [ -f "$app/Procfile" ] && cp "$app/Procfile" "$result/Procfile"
  launch_environment
  return 0
}

# The user's variables as files, which buildpacks in Heroku's layout expect.
env_folder() {
  local folder=$root/env name
  mkdir -p "$folder"
  for name in $(compgen -e); do
    case $name in
      PATH | HOME | PWD | OLDPWD | SHLVL | _ | TMPDIR | USER | LOGNAME | SHELL) ;;
      *) printf '%s' "${!name}" >"$folder/$name" ;;
    esac
  done
  echo "$folder"
}

# What instances source at start, unless the last buildpack has seen to it: tools of all buildpacks, and their own scripts.
launch_environment() {
  local script=$profile/000_multi-supply.sh folder index file
  for folder in "$deps"/*/; do
    [ -d "$folder/profile.d" ] || continue
    index=$(basename "$folder")
    for file in "$folder"/profile.d/*; do
      [ -f "$file" ] && [ ! -e "$profile/${index}_$(basename "$file")" ] &&
        cp "$file" "$profile/${index}_$(basename "$file")"
    done
  done
  [ -e "$script" ] && return 0
  for folder in "$deps"/*/; do
    index=$(basename "$folder")
    [ -d "$folder/bin" ] && echo "export PATH=\$DEPS_DIR/$index/bin\${PATH:+:\$PATH}"
    [ -d "$folder/lib" ] && echo "export LD_LIBRARY_PATH=\$DEPS_DIR/$index/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
  done >"$script"
  [ -s "$script" ] || rm -f "$script"
  return 0
}

# From in here, so that a user's URL reaches what the user's containers may reach, and not what the cell may.
fetch() {
  mkdir -p "$(dirname "$2")"
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --retry 2 --output "$2" -- "$1" ||
      fail $UNUSABLE "Failed to download the buildpack $1"
  else
    python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])' "$1" "$2" 2>/dev/null ||
      fail $UNUSABLE "Failed to download the buildpack $1"
  fi
}

pack() {
  local staged=$root/staged
  local options=(--numeric-owner --owner=2000 --group=2000 --hard-dereference --sort=name)
  # igzip takes a sixth of the time of gzip -1, for 3 % more bytes.
  local droplet_packer='gzip -n -1' cache_packer='gzip -n -1'
  command -v igzip >/dev/null && droplet_packer='igzip -n -1'
  # Nobody but the next build reads it, and most of it is packed already.
  command -v zstd >/dev/null && cache_packer='zstd -q -1'
  mkdir -p "$staged/logs" "$staged/tmp" "$deps" "$profile"
  printf '%s' "$1" >"$staged/staging_info.yml"
  tar -c "${options[@]}" --use-compress-program="$droplet_packer" -f "$root/droplet.tgz" -C "$staged" staging_info.yml logs tmp -C "$root" app deps profile.d || exit 1
  if [ -n "$(ls -A "$cache" 2>/dev/null)" ]; then
    tar -c "${options[@]}" --use-compress-program="$cache_packer" -f "$root/cache.packed" -C "$cache" . || exit 1
  fi
}

case ${1:-} in
  build) shift && build "$@" ;;
  fetch) shift && fetch "$@" ;;
  pack) shift && pack "$@" ;;
  *) fail 2 "stage.sh: unknown phase ${1:-}" ;;
esac
