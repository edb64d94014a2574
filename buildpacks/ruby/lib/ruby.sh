# Ruby's environment at run time. What the user set stays.
debian=$DEPS_DIR/@INDEX@/debian libraries=@LIBRARIES@
export LD_LIBRARY_PATH=$debian/${libraries//:/:$debian/}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# Ruby looks for its own library below /usr; RUBYLIB comes first, and from there it finds the rest relative to itself.
RUBYLIB=$(printf '%s:' "$debian"/usr/lib/ruby/vendor_ruby "$debian"/usr/lib/ruby/3.* "$debian"/usr/lib/@TRIPLET@/ruby/3.* "$debian"/usr/lib/@TRIPLET@/ruby/vendor_ruby/3.*)
export RUBYLIB=${RUBYLIB%:}
export GEM_HOME=$DEPS_DIR/@INDEX@/gems
export GEM_PATH=$GEM_HOME:$(echo "$debian"/usr/lib/ruby/gems/3.*):$debian/usr/share/rubygems-integration/all
export BUNDLE_PATH=$DEPS_DIR/@INDEX@/bundle
export BUNDLE_WITHOUT=${BUNDLE_WITHOUT:-development:test}
# The lockfile's own Bundler would be fetched at each start.
bundler=("$debian"/usr/share/rubygems-integration/all/gems/bundler-*)
export BUNDLER_VERSION=${bundler[0]##*-}
export PATH=$(echo "$BUNDLE_PATH"/ruby/3.*)/bin:$PATH
unset debian libraries bundler

export RACK_ENV=${RACK_ENV:-production} RAILS_ENV=${RAILS_ENV:-production}
export RAILS_SERVE_STATIC_FILES=${RAILS_SERVE_STATIC_FILES:-enabled} RAILS_LOG_TO_STDOUT=${RAILS_LOG_TO_STDOUT:-enabled}
export MALLOC_ARENA_MAX=${MALLOC_ARENA_MAX:-2}
