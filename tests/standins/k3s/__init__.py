"""A stand-in for k3s: one executable file that follows its published contract, for tests here and in guests.

`make(path)` writes it, `python -m standins.k3s PATH` does the same. It needs Python 3.11 and the openssl program.
It shares no code with imagesmith, runs no container, and says "stand-in" in its version and before all that it logs.
Nodes, node passwords, members and tokens behave as k3s documents; the rest of the Kubernetes API is not there.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

_PROGRAM = Path(__file__).parent / "program"
_MAIN = """\
import sys

from k3s_stand_in.entry import main

sys.exit(main(sys.argv))
"""


VERSION = "v0.0.0+stand-in"


def make(path: Path, version: str = VERSION) -> Path:
    """The program as `path`, the same bytes every time: a zip with a first line that names its interpreter.

    Another `version`, v1.36.3+k3s1, is for upgrades from one to the next; `k3s --version` says "stand-in" all the same.
    """
    with path.open("wb") as out:
        out.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(_entry("__main__.py"), _MAIN)
            for module in sorted(_PROGRAM.glob("*.py")):
                content = module.read_text()
                if module.name == "release.py":
                    content = content.replace(VERSION, version)
                packed.writestr(_entry(f"k3s_stand_in/{module.name}"), content)
    path.chmod(0o755)
    return path


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
