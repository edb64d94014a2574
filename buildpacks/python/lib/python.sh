# Python's environment at run time. What the user set stays.
export VIRTUAL_ENV=$DEPS_DIR/@INDEX@/venv
export PATH=$VIRTUAL_ENV/bin:$PATH
export PYTHONUNBUFFERED=${PYTHONUNBUFFERED:-1}
export PYTHONHASHSEED=${PYTHONHASHSEED:-random}
export PYTHONPATH=$HOME${PYTHONPATH:+:$PYTHONPATH}
export REQUESTS_CA_BUNDLE=${REQUESTS_CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
