"""Look at this machine: which tools are here, in which version, and what to type for those that are not.

Called by `cli.doctor`. Runs each tool once for its version; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imagesmith import tools
from imagesmith.errors import ToolMissing
from imagesmith.planning.boot import FIRMWARE

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


def findings() -> tuple[Finding, ...]:
    """Every tool of `tools.TOOLS`, the guests' firmware, and whether ARM programs run here."""
    return (*(_tool(tool) for tool in tools.TOOLS.values()), *_firmware(), _emulation())


def install_line(found: Iterable[Finding]) -> str:
    """The one line that installs what is missing or too old; empty when nothing is."""
    packages = sorted({one.package for one in found if one.trouble and one.package})
    return f"apt-get install {' '.join(packages)}" if packages else ""


def _tool(tool: tools.Tool) -> Finding:
    try:
        version = tools.version(tool.name)
    except ToolMissing:
        return Finding(tool.name, tool.package, tool.purpose, "", "missing")
    return Finding(tool.name, tool.package, tool.purpose, version, _too_old(tool, version))


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


def _emulation() -> Finding:
    here = _BINFMT.is_file()
    trouble = "" if here else "not registered; as root: mount binfmt_misc and run update-binfmts --enable qemu-aarch64"
    return Finding("binfmt qemu-aarch64", "", "runs ARM programs while an ARM base is made",
                   "registered" if here else "", trouble)  # fmt: skip
