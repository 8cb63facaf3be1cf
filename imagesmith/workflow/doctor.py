"""Look at this machine: which tools are here, in which version, and what to type for those that are not.

Called by `cli.doctor`. Runs each tool once for its version, reads the index of the vault here; changes nothing.
"""

from __future__ import annotations

import os
import platform
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from imagesmith import tools
from imagesmith.errors import ImagesmithError, ToolMissing
from imagesmith.planning.boot import FIRMWARE
from imagesmith.vault.files import open_to_others
from imagesmith.vault.index import read_index
from imagesmith.workflow.sealed import vault_of
from imagesmith.workflow.target import TargetChoice

BACKPORTED = ("e2fsprogs", "mmdebstrap", "qemu-system-x86", "qemu-system-arm", "qemu-utils", "qemu-user-static")
"""What tools/install-system.sh takes from the backports of Debian 12, whose own is too old."""
_SCRIPT = Path(__file__).parents[2] / "tools" / "install-system.sh"
_BACKUP_DAYS = 30
_BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that imagesmith needs, and how it is here."""

    name: str
    package: str
    purpose: str
    version: str
    """Empty when it is missing."""
    trouble: str
    """Empty when all is well."""
    optional: bool = False
    """Its trouble hinders only some: it is told, and is no failure."""


def findings() -> tuple[Finding, ...]:
    """Every tool of `tools.TOOLS`, the guests' firmware, whether ARM programs run here, and the vault that is here."""
    return (*(_tool(tool) for tool in tools.TOOLS.values()), *_firmware(), *_emulation(), *_vault())


def install_line(found: Iterable[Finding], *, release: str = "", script: Path | None = None) -> str:
    """The one line that installs what is missing or too old; empty when nothing is.

    `release` is the distribution's code name. On Debian 12 (bookworm) some come from its backports: the checkout's
    `script` adds that suite; without it the suite must be there already.
    """
    packages = sorted({one.package for one in found if one.trouble and one.package and not one.optional})
    newer = [one for one in packages if one in BACKPORTED] if release == "bookworm" else []
    if newer and script:
        return f"sudo sh {shlex.quote(str(script))}"
    plain = [one for one in packages if one not in newer]
    lines = [f"apt-get install -t bookworm-backports {' '.join(newer)}"] if newer else []
    lines += [f"apt-get install {' '.join(plain)}"] if plain else []
    return " && ".join(lines)


def install_script() -> Path | None:
    """tools/install-system.sh as it can be typed here, when this runs from a checkout."""
    if not _SCRIPT.is_file():
        return None
    return _SCRIPT.relative_to(Path.cwd()) if _SCRIPT.is_relative_to(Path.cwd()) else _SCRIPT


def release_here() -> str:
    """This system's code name, as `bookworm`; empty when it tells none."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""


def _tool(tool: tools.Tool) -> Finding:
    # Root makes bases without a user namespace.
    optional = tool.name == "newuidmap" and os.geteuid() == 0
    missing = Finding(tool.name, tool.package, tool.purpose, "", "missing", optional)
    try:
        version = tools.version(tool.name)
    except ToolMissing:
        return missing
    return replace(missing, version=version, trouble=_too_old(tool, version))


def _too_old(tool: tools.Tool, version: str) -> str:
    numbers = tuple(int(part) for part in version.split(".")) if version != "unknown" else ()
    if not tool.minimum or not numbers or numbers >= tool.minimum:
        return ""
    wanted = ".".join(map(str, tool.minimum))
    return f"too old, {wanted} is needed (on Debian 12 it is in bookworm-backports)"


def _firmware() -> Iterable[Finding]:
    for architecture, choices in FIRMWARE.items():
        here = next((one for one in choices if one.code.is_file() and one.variables.is_file()), None)
        trouble = "" if here else "missing"
        yield Finding(
            f"UEFI firmware, {architecture}", choices[0].package, f"starts {architecture} guests",
            str(here.code) if here else "", trouble,
        )  # fmt: skip


def _vault() -> Iterable[Finding]:
    """Of ./cluster.yaml, where it has one. Nothing stops without it being well, until it is lost."""
    folder = vault_of(TargetChoice())
    if folder is None:
        return
    purpose = "keeps the nodes' keys and passwords"
    try:
        count = f"{len(read_index(folder).secrets)} kept"
        trouble = vault_trouble(folder)
    except ImagesmithError as error:
        count, trouble = "", f"{error}; {error.hint}"
    yield Finding(f"vault {folder}", "", purpose, count, trouble, optional=True)


def vault_trouble(folder: Path, now: float | None = None) -> str:
    """What is to be done about a vault: closed to others, backed up; empty when nothing is. `now` = since 1970."""
    index, told = read_index(folder), list[str]()
    if others := open_to_others(folder):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        told.append(f"others can get at {others[0]}{more}: chmod -R go= {shlex.quote(str(folder))}")
    if index.lock == "plain":
        told.append("it is plain, not sealed: imagesmith vault rekey gives it a passphrase")
    now = time.time() if now is None else now
    oldest = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - _BACKUP_DAYS * 86400))
    backup = "imagesmith vault backup DIR, on another disk"
    if not index.backed_up:
        told.append(f"it was never backed up: {backup}")
    elif index.backed_up < oldest:
        told.append(f"its last backup is of {index.backed_up[:10]}, more than {_BACKUP_DAYS} days ago: {backup}")
    elif late := [name for name, entry in index.secrets.items() if entry.made > index.backed_up]:
        told.append(f"{len(late)} of its secrets were made after the last backup, as {late[0]}: {backup}")
    return "; ".join(told)


def _emulation() -> Iterable[Finding]:
    if platform.machine() in ("aarch64", "arm64"):
        return
    here = _BINFMT.is_file()
    trouble = "" if here else "not registered; as root: mount binfmt_misc and run update-binfmts --enable qemu-aarch64"
    yield Finding("binfmt qemu-aarch64", "", "runs ARM programs while an ARM base is made",
                  "registered" if here else "", trouble, optional=True)  # fmt: skip
