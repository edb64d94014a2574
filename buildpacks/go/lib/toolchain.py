"""The Go toolchain from a Go module proxy, where it is the module golang.org/toolchain (https://go.dev/doc/toolchain).

toolchain.py wish GO_MOD          prints which version is asked for and where: `1.24 go.mod: go 1.24`
toolchain.py install WISH CACHE_DIR TARGET_DIR
  prints the version installed. WISH is `1.24.3` (exactly), `1.24` (its newest patch), `>=1.24.3` (that line, that patch
  or a newer one) or `newest`.

The proxy is the first of $GOPROXY, else Go's default. The archive's hash is the one that the checksum database of
$GOSUMDB says, asked through the proxy as the go command does; GOSUMDB=off leaves that out, and says so.
"""

import base64
import hashlib
import os
import platform
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
import zipfile

MODULE = "golang.org/toolchain"
TRIES = 4


class Fault(Exception):
    pass


def say(text):
    print(f"       {text}", file=sys.stderr)


def wish(go_mod):
    """GOVERSION, then the toolchain line, then the go line; a go line is a least version, held within its minor version."""
    asked = os.environ.get("GOVERSION", "").strip()
    if asked:
        version = re.fullmatch(r"(?:go)?(\d+\.\d+(?:\.\d+)?)(?:\.x)?", asked)
        if not version:
            raise Fault(f"GOVERSION is `{asked}`; write a version like 1.25 or 1.25.3")
        return f"{version[1]} GOVERSION: {asked}"
    with open(go_mod, encoding="utf-8") as file:
        text = file.read()
    exact = re.search(r"^toolchain\s+go(\d+\.\d+(?:\.\d+)?)\s*(?://.*)?$", text, re.M)
    if exact:
        return f"{exact[1]} go.mod: toolchain go{exact[1]}"
    least = re.search(r"^go\s+(\d+\.\d+(?:\.\d+)?)\s*(?://.*)?$", text, re.M)
    if least:
        return f">={least[1]} go.mod: go {least[1]}"
    return "newest no version asked for, so the newest"


def numbers(version):
    return tuple(int(part) for part in version.split("."))


def proxies():
    """The proxies of $GOPROXY in order; `direct` and `off` are none."""
    listed = re.split(r"[,|]", os.environ.get("GOPROXY") or "https://proxy.golang.org,direct")
    found = [url.strip().rstrip("/") for url in listed if url.strip() not in ("", "direct", "off")]
    if not found:
        raise Fault("GOPROXY names no proxy, and the Go toolchain comes from one")
    return found


def fetch(url, to=None):
    """The body as text, or into the file `to`. Errors: Fault after some tries; FileNotFoundError at 404 and 410."""
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                if to is None:
                    return answer.read().decode()
                with open(to, "wb") as file:
                    shutil.copyfileobj(answer, file, 1 << 20)
                return ""
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                raise FileNotFoundError(url)
            why = f"HTTP status {error.code}"
        except (OSError, EOFError) as error:
            why = str(getattr(error, "reason", error))
        if attempt < TRIES:
            time.sleep(attempt)
    raise Fault(f"{url} can't be had: {why}")


def suffix():
    machines = {"x86_64": "linux-amd64", "aarch64": "linux-arm64"}
    if platform.machine() not in machines:
        raise Fault(f"there is no Go for the processor type {platform.machine()}")
    return machines[platform.machine()]


def choose(versions, wanted):
    """The newest of `versions` that fits; of a line older than all that there are, the newest of all."""
    releases = sorted((v for v in versions if re.fullmatch(r"\d+\.\d+(\.\d+)?", v)), key=numbers)
    if not releases:
        return None
    if wanted == "newest":
        return releases[-1]
    least = wanted.startswith(">=")
    asked = numbers(wanted.removeprefix(">="))
    line = [v for v in releases if numbers(v)[:2] == asked[:2]]
    if len(asked) == 3 and not least:
        return wanted if wanted in line else None
    line = [v for v in line if numbers(v) >= asked]
    if line:
        return line[-1]
    return releases[-1] if least and asked < numbers(releases[-1]) else None


def module_hash(archive):
    """The h1 hash of a module's zip: SHA-256 over the sorted lines `<SHA-256 of the file>  <name>` of its files."""
    with zipfile.ZipFile(archive) as file:
        lines = []
        for name in sorted(file.namelist()):
            digest = hashlib.sha256()
            with file.open(name) as member:
                while block := member.read(1 << 20):
                    digest.update(block)
            lines.append(f"{digest.hexdigest()}  {name}\n")
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


def expected_hash(proxy, version):
    database = (os.environ.get("GOSUMDB") or "sum.golang.org").split("+")[0].split(" ")[0]
    if database == "off":
        say("GOSUMDB is off: the toolchain's hash is not checked")
        return None
    path = f"lookup/{MODULE}@{version}"
    try:
        record = fetch(f"{proxy}/sumdb/{database}/{path}")
    except FileNotFoundError:
        record = fetch(f"https://{database}/{path}")
    found = re.search(rf"^{re.escape(MODULE)} {re.escape(version)} (h1:\S+)$", record, re.M)
    if not found:
        raise Fault(f"{database} has no hash of {MODULE}@{version}")
    return found[1]


def unpack(archive, version, target):
    """Modules' zips keep no file modes, and have one folder `golang.org/toolchain@VERSION` at their top."""
    prefix = f"{MODULE}@{version}/"
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            name = member.filename.removeprefix(prefix)
            if name == member.filename or name.endswith("/") or ".." in name.split("/"):
                raise Fault(f"{archive} holds `{member.filename}`, which is no file of a toolchain")
            # Its tests, documents and own sources are of no use here, and are most of its files.
            if name.startswith(("test/", "doc/", "api/", "src/cmd/")) or name.endswith("_test.go") or "/testdata/" in name:
                continue
            path = os.path.join(target, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with file.open(member) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            if name.startswith(("bin/", "pkg/tool/")):
                os.chmod(path, 0o755)


def install(wanted, cache, target):
    kept = {v: name for name in os.listdir(cache) if (v := name.removeprefix("go").removesuffix(".zip")) != name}
    try:
        proxy = proxies()[0]
        listed = fetch(f"{proxy}/{MODULE}/@v/list").split()
        end = f".{suffix()}"
        versions = [v.removeprefix("v0.0.1-go").removesuffix(end) for v in listed if v.endswith(end)]
    except (Fault, FileNotFoundError) as fault:
        proxy, versions = None, list(kept)
        if choose(versions, wanted) is None:
            raise Fault(str(fault))
        say(f"{fault}: taking Go from the cache")
    version = choose(versions, wanted)
    if version is None:
        newest = choose(versions, "newest")
        raise Fault(f"there is no Go {wanted.removeprefix('>=')} for {suffix()} at {proxy} (newest there: {newest})")
    module_version = f"v0.0.1-go{version}.{suffix()}"
    archive = os.path.join(cache, f"go{version}.zip")
    if not os.path.exists(archive):
        if proxy is None:
            raise Fault("no proxy answers")
        half = f"{archive}.half"
        fetch(f"{proxy}/{MODULE}/@v/{module_version}.zip", half)
        expected = expected_hash(proxy, module_version)
        if expected and module_hash(half) != expected:
            os.remove(half)
            raise Fault(f"Go {version} from {proxy} is not what the checksum database knows: its hash differs")
        os.replace(half, archive)
    for name in os.listdir(cache):
        if name != os.path.basename(archive):
            os.remove(os.path.join(cache, name))
    unpack(archive, module_version, target)
    return f"Go {version}"


try:
    print(wish(sys.argv[2]) if sys.argv[1] == "wish" else install(*sys.argv[2:5]))
except Fault as fault:
    print(f"       **ERROR** {fault}", file=sys.stderr)
    sys.exit(1)
