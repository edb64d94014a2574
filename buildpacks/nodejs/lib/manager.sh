# Which package manager installs the app's packages, and how. Sourced by supply, whose variables it uses.

# choose_manager: sets `manager` (npm, yarn, berry, pnpm), the package that it is, and the range of versions that is meant: what
# package.json's packageManager says, else what the lockfile says.
choose_manager() {
  local said=${package_manager%%+*}
  manager=npm manager_package=npm manager_range=
  case $said in
    yarn@1.*) manager=yarn ;;
    yarn@*) manager=berry ;;
    pnpm@*) manager=pnpm ;;
    npm@* | '')
      if [ -n "$said" ] || [ -f package-lock.json ] || [ -f npm-shrinkwrap.json ]; then
        :
      elif [ -f pnpm-lock.yaml ]; then
        manager=pnpm
        case $(sed -nE "s/^lockfileVersion: *'?([0-9]+).*/\1/p" pnpm-lock.yaml | head -n 1) in
          5) manager_range=7.x ;;
          6) manager_range=8.x ;;
          *) manager_range=10.x ;;
        esac
      elif [ -f yarn.lock ]; then
        manager=yarn manager_range=1.x
        if grep -q '^__metadata:' yarn.lock; then manager=berry manager_range=4.x; fi
      fi
      ;;
    *) fail "package.json's packageManager is $package_manager, and this buildpack has npm, yarn and pnpm" ;;
  esac
  [ -z "$said" ] || manager_range=${said#*@}
  case $manager in
    yarn) manager_package=yarn ;;
    berry) manager_package=@yarnpkg/cli-dist ;;
    pnpm) manager_package=pnpm ;;
  esac
}

# install_manager: yarn or pnpm besides npm, from the npm registry, as a program of the droplet.
install_manager() {
  local program=${manager/berry/yarn} version entry
  [ "$manager" != npm ] || return 0
  version=$(python3 "$buildpack_dir/lib/registry.py" install "$manager_package" "$manager_range" "$cache/node" "$dep/$program" "$node")
  entry=$(node -p 'const bin = require(process.argv[1]).bin; typeof bin === "string" ? bin : bin[process.argv[2]]' "$dep/$program/package.json" "$program")
  chmod +x "$dep/$program/$entry"
  ln -s "../$program/${entry#./}" "$dep/bin/$program"
  note "$program $version"

  # Registry and authorities are those of npm's settings; caches are the app's.
  export CI=true YARN_CACHE_FOLDER=$cache/yarn YARN_ENABLE_GLOBAL_CACHE=false YARN_ENABLE_TELEMETRY=0
  export YARN_HTTPS_CA_FILE_PATH=${YARN_HTTPS_CA_FILE_PATH:-$NODE_EXTRA_CA_CERTS}
  # Plug'n'Play keeps packages in the cache, which is not in the droplet.
  export YARN_NODE_LINKER=node-modules
  if [ -n "${npm_config_registry:-}" ]; then
    export YARN_NPM_REGISTRY_SERVER=${YARN_NPM_REGISTRY_SERVER:-$npm_config_registry}
    export YARN_REGISTRY=${YARN_REGISTRY:-$npm_config_registry}
  fi
}

# install_packages WITH_DEV: all that the lockfile names, with devDependencies where WITH_DEV is not empty.
install_packages() {
  case $manager in
    yarn)
      [ -f yarn.lock ] || fail 'there is no yarn.lock: run yarn install and push it too'
      if [ -n "$1" ]; then run yarn install --frozen-lockfile --non-interactive --production=false; else run yarn install --frozen-lockfile --non-interactive --production; fi
      ;;
    berry)
      [ -f yarn.lock ] || fail 'there is no yarn.lock: run yarn install and push it too'
      if [ -n "$1" ]; then run yarn install --immutable; else run yarn workspaces focus --all --production; fi
      ;;
    pnpm)
      local options=(--frozen-lockfile --store-dir "$cache/pnpm" --package-import-method copy)
      [ -f pnpm-lock.yaml ] || fail 'there is no pnpm-lock.yaml: run pnpm install and push it too'
      if [ -n "$1" ]; then run pnpm install "${options[@]}" --prod=false; else run pnpm install "${options[@]}" --prod; fi
      ;;
    npm) install_by_npm ;;
  esac
}

# prune_packages: what only the build needed goes.
prune_packages() {
  case $manager in
    yarn) run yarn install --frozen-lockfile --non-interactive --production --ignore-scripts --prefer-offline ;;
    berry) run yarn workspaces focus --all --production ;;
    pnpm) run pnpm prune --prod --ignore-scripts ;;
    npm) run npm prune "${omit[@]/--include=dev/--omit=dev}" ;;
  esac
}
