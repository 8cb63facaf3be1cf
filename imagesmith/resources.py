"""Where the project's data folders are, and what is in them: a checkout's own, or the wheel's copy."""

from __future__ import annotations

from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.model import Materials

FOLDERS = ("profiles", "cloud-init", "firstboot", "installer", "keyrings")
_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `name` (one of FOLDERS): beside the package in a checkout, inside it in a wheel."""
    for root in (_PACKAGE.parent, _PACKAGE / "_data"):
        if (root / name).is_dir() and (root / "profiles" / "boards").is_dir():
            return root / name
    raise UsageError(f"imagesmith's own {name} folder is missing", hint="reinstall imagesmith")


def materials() -> Materials:
    """Every file that plans are made of (firstboot/, cloud-init/, installer/, profiles/cluster/), read once."""
    files = {}
    for name, part in (("firstboot", ""), ("cloud-init", ""), ("installer", ""), ("profiles", "cluster")):
        top = folder(name)
        for path in sorted((top / part).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[f"{name}/{path.relative_to(top).as_posix()}"] = path.read_bytes()
    return Materials(files)
