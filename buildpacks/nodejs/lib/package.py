"""package.py FILE: what the buildpack asks of a package.json, as shell assignments."""

import json
import shlex
import sys

path = sys.argv[1]
try:
    with open(path, encoding="utf-8-sig") as file:
        package = json.load(file)
except ValueError as error:
    print(f"       **ERROR** package.json is not valid JSON: {error}", file=sys.stderr)
    sys.exit(1)
if not isinstance(package, dict):
    print("       **ERROR** package.json must hold an object", file=sys.stderr)
    sys.exit(1)


def text(*keys):
    value = package
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


values = {
    "engines_node": text("engines", "node"),
    "engines_npm": text("engines", "npm"),
    "package_manager": text("packageManager"),
    "main": text("main"),
    "script_start": text("scripts", "start"),
    "script_build": text("scripts", "build"),
    "script_prebuild": text("scripts", "heroku-prebuild"),
    "script_postbuild": text("scripts", "heroku-postbuild"),
    "has_dependencies": "yes" if any(package.get(key) for key in ("dependencies", "devDependencies", "optionalDependencies", "workspaces")) else "",
    "has_dev_dependencies": "yes" if package.get("devDependencies") else "",
}
for name, value in values.items():
    print(f"{name}={shlex.quote(value)}")
