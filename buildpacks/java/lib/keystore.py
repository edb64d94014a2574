"""keystore.py BUNDLE FILE: certificate authorities of a PEM bundle as a key store that Java reads.

Debian makes this file in a script of a package, which is not run here. The format is JKS version 2: entries of trusted
certificates, then the SHA-1 of the password in UTF-16, a fixed text and all before it.
"""

import base64
import hashlib
import pathlib
import re
import struct
import sys

PASSWORD = "changeit"  # Java's own default for this file; nothing in it is secret.


def utf(text):
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


with open(sys.argv[1], encoding="utf-8") as file:
    found = re.findall(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", file.read(), re.S)
store = struct.pack(">III", 0xFEEDFEED, 2, len(found))
for number, text in enumerate(found):
    der = base64.b64decode(text)
    store += struct.pack(">I", 2) + utf(f"authority-{number}") + struct.pack(">Q", 0) + utf("X.509")
    store += struct.pack(">I", len(der)) + der
digest = hashlib.sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + store).digest()
# In its place may be a link to where Debian keeps it.
pathlib.Path(sys.argv[2]).unlink(missing_ok=True)
pathlib.Path(sys.argv[2]).write_bytes(store + digest)
