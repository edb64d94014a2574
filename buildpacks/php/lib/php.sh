# PHP's environment at run time. What the user set stays.
export PHPRC=${PHPRC:-$DEPS_DIR/@INDEX@/php/php.ini}
export PHP_INI_SCAN_DIR=${PHP_INI_SCAN_DIR:-$DEPS_DIR/@INDEX@/php/conf.d}
libraries=@LIBRARIES@
debian=$DEPS_DIR/@INDEX@/debian
export LD_LIBRARY_PATH=$debian/${libraries//:/:$debian/}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
unset libraries debian
