"""relocate.py VENV: scripts of a virtual environment run wherever it is laid.

Their first line names the interpreter by its full path, which holds only where they were made. Instead, the shell finds
the interpreter beside the script.
"""

import os
import sys

venv = os.path.abspath(sys.argv[1])
folder = os.path.join(venv, "bin")
for name in os.listdir(folder):
    path = os.path.join(folder, name)
    if os.path.islink(path) or not os.path.isfile(path):
        continue
    with open(path, "rb") as file:
        content = file.read()
    first, _, rest = content.partition(b"\n")
    if not first.startswith(b"#!" + folder.encode()):
        continue
    # Read by the shell, the second line runs Python on this very file; read by Python, it is a string.
    start = b"#!/bin/sh\n'''exec' \"$(dirname \"$(readlink -f \"$0\")\")/python3\" \"$0\" \"$@\"\n' '''\n"
    mode = os.stat(path).st_mode
    with open(path, "wb") as file:
        file.write(start + rest)
    os.chmod(path, mode)
