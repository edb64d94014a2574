"""wishes.py LINE: what the app in the current folder asks of PHP, as shell assignments.

`wanted` are the extensions asked for by name, `extensions` the Debian packages that bring them and the usual ones, `web`
the folder that is served. Read are composer.json (`php`, `ext-…`), composer.lock, and .bp-config/options.json (WEBDIR,
PHP_EXTENSIONS, PHP_VERSION), as Cloud Foundry's PHP buildpack has them.
"""

import json
import os
import re
import shlex
import sys

line = sys.argv[1]
# Always in PHP, or in the packages that come anyway.
BUILT_IN = set(
    "calendar core ctype date exif ffi fileinfo filter ftp gettext hash iconv json libxml openssl pcntl pcre pdo phar posix"
    " random reflection session shmop sockets sodium spl standard sysvmsg sysvsem sysvshm tokenizer zlib zend-opcache opcache"
    " readline".split()
)
# Packages that hold extensions of other names.
HOME = {
    **dict.fromkeys("dom simplexml xml xmlreader xmlwriter xsl".split(), "xml"),
    **dict.fromkeys("mysqli mysqlnd pdo_mysql".split(), "mysql"),
    **dict.fromkeys("pgsql pdo_pgsql".split(), "pgsql"),
    **dict.fromkeys("sqlite3 pdo_sqlite".split(), "sqlite3"),
    **dict.fromkeys("odbc pdo_odbc".split(), "odbc"),
}
USUAL = "curl mbstring mysql opcache pgsql sqlite3 xml zip".split()


def stop(message):
    print(f"       **ERROR** {message}", file=sys.stderr)
    sys.exit(1)


def read(path):
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except ValueError as error:
        stop(f"{path} is not valid JSON: {error}")
    return found if isinstance(found, dict) else stop(f"{path} must hold an object")


def key(name):
    return name.lower().replace("zend ", "zend-")


options = read(".bp-config/options.json")
composer = read("composer.json")
version = re.match(r"\{?(?:PHP_)?(\d)[._]?(\d+)?", str(options.get("PHP_VERSION", "")).lstrip("{"))
if version and (version[1], version[2] or line.split(".")[1]) != tuple(line.split(".")):
    asked = f"{version[1]}.{version[2]}" if version[2] else version[1]
    stop(f".bp-config/options.json asks for PHP {asked}, and this buildpack has PHP {line} only")
wanted = [str(name) for name in options.get("PHP_EXTENSIONS", [])]
requires = [composer.get("require", {})]
requires += [package.get("require", {}) for package in read("composer.lock").get("packages", [])]
for require in requires:
    wanted += [name.removeprefix("ext-") for name in require if name.startswith("ext-")]
wanted = sorted({key(name) for name in wanted})
for name in wanted:
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        stop(f"`{name}` is no name of an extension of PHP")
packages = {f"php{line}-{name}" for name in USUAL}
packages |= {f"php{line}-{HOME.get(name, name)}" for name in wanted if name not in BUILT_IN}

web = options.get("WEBDIR")
if web is None:
    web = next((name for name in ("htdocs", "public") if os.path.isdir(name)), ".")
elif not os.path.isdir(web) or os.path.relpath(web).startswith(".."):
    stop(f".bp-config/options.json serves the folder `{web}` (WEBDIR), which is not in the app")
for name, value in {"wanted": " ".join(wanted), "extensions": " ".join(sorted(packages)), "web": os.path.normpath(web)}.items():
    print(f"{name}={shlex.quote(value)}")
