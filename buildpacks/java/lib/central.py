"""central.py GROUP:ARTIFACT LINE CLASSIFIER CACHE_DIR TARGET_DIR: a tar.gz of a Maven repository, unpacked.

The newest release whose version begins with LINE; prints that version. The repository is $MAVEN_REPOSITORY, else Maven
Central. Its digest (.sha512, else .sha1) is checked. What is cached serves when the repository does not answer.
"""

import hashlib
import os
import re
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request

REPOSITORY = (os.environ.get("MAVEN_REPOSITORY") or "https://repo.maven.apache.org/maven2").rstrip("/")
TRIES = 4


class Fault(Exception):
    pass


def fetch(url):
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise FileNotFoundError(url)
            why = f"HTTP status {error.code}"
        except (OSError, EOFError) as error:
            why = str(getattr(error, "reason", error))
        if attempt < TRIES:
            time.sleep(attempt)
    raise Fault(f"{url} can't be had: {why}")


def numbers(version):
    return tuple(int(part) for part in version.split("."))


def choose(versions, line):
    fits = [v for v in versions if re.fullmatch(r"\d+(\.\d+)*", v) and (v == line or v.startswith(f"{line}."))]
    return max(fits, key=numbers) if fits else None


def digest_of(url):
    for algorithm in ("sha512", "sha1"):
        try:
            return algorithm, fetch(f"{url}.{algorithm}").decode().split()[0]
        except FileNotFoundError:
            continue
    raise Fault(f"{url} has no digest beside it")


def unpack(archive, target):
    """The one folder at the archive's top becomes TARGET."""
    os.makedirs(target, exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, member.name = member.name.partition("/")
            if not member.name or not (member.isfile() or member.isdir()):
                continue
            if os.path.isabs(member.name) or ".." in member.name.split("/"):
                raise Fault(f"{archive} holds `{member.name}`, which lies outside of it")
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
            tar.extract(member, target)


def install(coordinates, line, classifier, cache, target):
    group, artifact = coordinates.split(":")
    os.makedirs(cache, exist_ok=True)
    base = f"{REPOSITORY}/{group.replace('.', '/')}/{artifact}"
    kept = {name.removesuffix(".tar.gz"): name for name in os.listdir(cache) if name.endswith(".tar.gz")}
    try:
        version = choose(re.findall(r"<version>([^<]+)</version>", fetch(f"{base}/maven-metadata.xml").decode()), line)
    except (Fault, FileNotFoundError) as fault:
        version = choose(kept, line)
        if version is None:
            raise Fault(f"{fault}")
        print(f"       {fault}: taking {artifact} from the cache", file=sys.stderr)
    if version is None:
        raise Fault(f"no version of {coordinates} at {REPOSITORY} begins with {line}")
    archive = os.path.join(cache, f"{version}.tar.gz")
    if not os.path.exists(archive):
        url = f"{base}/{version}/{artifact}-{version}{'-' + classifier if classifier else ''}.tar.gz"
        content = fetch(url)
        algorithm, expected = digest_of(url)
        if hashlib.new(algorithm, content).hexdigest() != expected:
            raise Fault(f"{url} is not what its {algorithm} says")
        with open(f"{archive}.half", "wb") as file:
            file.write(content)
        os.replace(f"{archive}.half", archive)
    for name in os.listdir(cache):
        if name != os.path.basename(archive):
            os.remove(os.path.join(cache, name))
    shutil.rmtree(target, ignore_errors=True)
    unpack(archive, target)
    return version


try:
    print(install(*sys.argv[1:6]))
except (Fault, FileNotFoundError) as fault:
    print(f"       **ERROR** {fault}", file=sys.stderr)
    sys.exit(1)
