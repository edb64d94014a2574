"""pipfile.py FOLDER: a Pipfile.lock, or else a Pipfile, as lines that pip reads (default packages only)."""

import json
import os
import sys
import tomllib


def fail(message):
    print(f"       **ERROR** {message}", file=sys.stderr)
    sys.exit(1)


def line(name, wish):
    if isinstance(wish, str):
        return name if wish == "*" else name + wish
    if not isinstance(wish, dict):
        fail(f"Pipfile: `{name}` is neither a version nor a table")
    extras = f"[{','.join(wish['extras'])}]" if wish.get("extras") else ""
    if "git" in wish:
        ref = f"@{wish['ref']}" if wish.get("ref") else ""
        text = f"{name}{extras} @ git+{wish['git']}{ref}"
    elif "path" in wish:
        text = f"{'-e ' if wish.get('editable') else ''}{wish['path']}{extras}"
    elif "file" in wish:
        text = f"{name}{extras} @ {wish['file']}"
    else:
        version = wish.get("version", "*")
        text = name + extras + ("" if version == "*" else version)
    if wish.get("markers"):
        text += f" ; {wish['markers']}"
    return text


def main(folder):
    lock = os.path.join(folder, "Pipfile.lock")
    try:
        if os.path.exists(lock):
            with open(lock, encoding="utf-8") as file:
                packages = json.load(file)["default"]
        else:
            with open(os.path.join(folder, "Pipfile"), "rb") as file:
                packages = tomllib.load(file).get("packages", {})
    except (ValueError, KeyError) as error:
        fail(f"Pipfile{'.lock' if os.path.exists(lock) else ''} cannot be read: {error}")
    for name, wish in packages.items():
        print(line(name, wish))


main(sys.argv[1])
