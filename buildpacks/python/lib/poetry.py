"""poetry.py FOLDER: a poetry.lock as lines that pip reads: the main packages, with the digests that the lock has.

Locks of Poetry 2 name the groups of each package; in older ones, main is what the dependencies of pyproject.toml lead to.
"""

import os
import re
import sys
import tomllib


def fail(message):
    print(f"       **ERROR** {message}", file=sys.stderr)
    sys.exit(1)


def key(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def read(path):
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError) as error:
        fail(f"{os.path.basename(path)} cannot be read: {error}")


def wanted_by(project):
    """The names that pyproject.toml itself depends on, in either of its forms."""
    standard = project.get("project", {}).get("dependencies", [])
    names = {key(re.match(r"[A-Za-z0-9._-]+", text)[0]) for text in standard}
    own = project.get("tool", {}).get("poetry", {}).get("dependencies", {})
    names |= {key(name) for name, wish in own.items() if name != "python" and not (isinstance(wish, dict) and wish.get("optional"))}
    return names


def main_packages(packages, project):
    if any("groups" in package for package in packages):
        return [package for package in packages if "main" in package.get("groups", []) and not package.get("optional")]
    found, open_names = set(), wanted_by(project)
    while open_names:
        name = open_names.pop()
        found.add(name)
        for package in packages:
            if key(package["name"]) != name:
                continue
            for needed, wish in package.get("dependencies", {}).items():
                is_optional = isinstance(wish, dict) and wish.get("optional")
                if not is_optional and key(needed) not in found:
                    open_names.add(key(needed))
    return [package for package in packages if key(package["name"]) in found]


def line(package):
    source = package.get("source", {})
    markers = package.get("markers")
    if isinstance(markers, dict):
        markers = markers.get("main")
    tail = f" ; {markers}" if markers else ""
    match source.get("type"):
        case "git":
            below = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
            return f"{package['name']} @ git+{source['url']}@{source['resolved_reference']}{below}{tail}"
        case "url":
            return f"{package['name']} @ {source['url']}{tail}"
        case "directory" | "file":
            return source["url"]
        case _:
            hashes = "".join(f" --hash={file['hash']}" for file in package.get("files", []))
            return f"{package['name']}=={package['version']}{tail}{hashes}"


def main(folder):
    lock = read(os.path.join(folder, "poetry.lock"))
    packages = main_packages(lock.get("package", []), read(os.path.join(folder, "pyproject.toml")))
    for url in sorted({p["source"]["url"] for p in packages if p.get("source", {}).get("type") == "legacy"}):
        print(f"--extra-index-url {url}")
    for package in packages:
        print(line(package))


main(sys.argv[1])
