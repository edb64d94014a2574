# Packages of Debian for buildpacks whose language comes from there, installed without any right: apt resolves and checks
# them against the archive's signatures, dpkg-deb unpacks them into a folder. No script of a package is run.

# debian_install TARGET CACHE PACKAGE…: these packages and all that they need beyond the stack, into TARGET.
debian_install() {
  local target=$1 cache=$2 mirror security suite settings sources nowhere said path link to
  shift 2
  mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
  security=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
  mkdir -p "$target" "$cache/state/lists/partial" "$cache/archives/partial"
  settings=$(mktemp) sources=$(mktemp --suffix=.list)
  cat > "$settings" << CONF
Dir::State "$cache/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$cache";
Dir::Cache::archives "archives";
Dir::Etc::sourcelist "$sources";
Dir::Etc::sourceparts "-";
Debug::NoLocking "1";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  {
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $security $suite-security main"
  } > "$sources"
  # Lists that were read once are good enough while the mirror is away; apt then says what it could not have.
  APT_CONFIG=$settings apt-get -q=2 update 2>&1 | indent || true
  # What apt prints leaves out what is in the folder of archives, hence an empty one.
  nowhere=$(mktemp -d)
  mkdir "$nowhere/partial"
  said=$(APT_CONFIG=$settings apt-get -q=2 -o "Dir::Cache::archives=$nowhere" --print-uris install "$@" 2>&1) ||
    fail "Debian's packages $* can't be had" "$(tail -n 5 <<< "$said")"
  APT_CONFIG=$settings apt-get -q=2 --download-only install "$@" > /dev/null ||
    fail "Debian's packages $* could not be fetched from $mirror (see above)"
  for path in "$cache"/archives/*.deb; do
    # The name that apt gives a package's file is the second word of its line.
    if grep -qF " $(basename "$path") " <<< "$said"; then
      dpkg-deb --extract "$path" "$target"
    else
      rm -f "$path"
    fi
  done
  # What points to a place in the root file system means the one below TARGET, where that has it.
  while read -r -d '' path; do
    link=$(readlink "$path")
    to=$target$link
    [ -e "$to" ] || [ -L "$to" ] || continue
    ln -sfn "$(realpath -s -m --relative-to="$(dirname "$path")" "$to")" "$path"
  done < <(find "$target" -type l -lname '/*' -print0)
  rm -rf "$target"/usr/share/{doc,man,info,lintian,locale,bug} "$settings" "$sources" "$nowhere"
}

# debian_libraries TARGET: the folders of TARGET with shared libraries, as a colon list of paths relative to TARGET.
debian_libraries() {
  local triplet
  triplet=$(gcc -dumpmachine)
  echo "usr/lib/$triplet:lib/$triplet"
}
