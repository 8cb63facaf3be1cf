"""Ubuntu Server preinstalled for Raspberry Pis: cloud-init's seed on the FAT partition, netplan, no user but ours.

The seed lies on ext4 too: cloud-init reads FAT last and lets it win, but only where the image's settings tell it to.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.families import kernel_line, stock
from imagesmith.families.family import Given, facts_of
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.payload_files import cgroup_words, seed
from imagesmith.families.raspberry import CLOSED, last_section
from imagesmith.model import Base, Edit, EnsureLine, EnsureToken, Promise, PutFile

CMDLINES: tuple[Clue, ...] = (("boot", "/cmdline.txt"), ("boot", "/current/cmdline.txt"))


class UbuntuRaspi:
    """Since 25.10 the firmware starts from one of two folders, so that a kernel that does not start is left again."""

    name = "ubuntu-raspi"
    wired = "wired"
    proven = "a stand-in; never booted"
    facts: Mapping[str, str] = {
        **stock.FACTS,
        "cmdline": "/cmdline.txt",
        "memory_cgroup": "on",
        "serial": "serial0,115200",
        "account": "ubuntu",
    }
    """`cmdline`: the kernel's line, as config.txt leads to it. `memory_cgroup`: `off` where the kernel needs to be told
    to have it. `serial`: console= of the serial port. `account`: the user whose password everybody knows."""
    clues: tuple[Clue, ...] = (*stock.CLUES, *CMDLINES)

    def claims(self, found: Findings) -> str:
        pi = found.has(*stock.PI_CONFIG) and found.has(*stock.CLOUD_INIT)
        return (
            "ubuntu with cloud-init, and config.txt on the boot partition"
            if pi and found.os_release.get("ID") == "ubuntu"
            else ""
        )

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        told = list(stock.objections(found))
        config, expected = found.text(*stock.PI_CONFIG), facts_of(self, base)["cmdline"]
        actual = kernel_line_of(config)
        if actual != expected:
            told.append(f"config.txt leads to {actual} for the kernel's line, the base says {expected} (`cmdline`)")
        elif ("boot", actual) in CMDLINES and not found.has("boot", actual):
            told.append(f"its boot partition has no {actual}, whose words are not made up")
        elif trouble := kernel_line.unreadable(found.contents.get(("boot", actual), b"")):
            told.append(f"{actual} {trouble}")
        if section := last_section(config):
            told.append(f"config.txt ends in the section {section}, so what is added would count only there")
        return tuple(told)

    def edits(self, given: Given) -> tuple[Edit, ...]:
        facts = facts_of(self, given.base)
        return (
            *seed(given.documents, "boot", ""),
            *_kernel_words(facts, serial=given.node.settings.serial_console),
            # cloud-init would make it, and a seed of the image's gave it its password; where it is there, it is closed.
            PutFile("root", CLOSED, f"{facts['account']}\n".encode()),
            *stock.edits(given, facts),
        )

    def promises(self, given: Given) -> tuple[Promise, ...]:
        return stock.promises(given, facts_of(self, given.base))


def kernel_line_of(config: str) -> str:
    """The path of the kernel's line that config.txt leads a Pi to: `os_prefix` and `cmdline` where they always count.

    Sections for a kind of start (`[tryboot]`) or for some boards are left out; the last word counts.
    """
    section, words = "[all]", {"os_prefix": "", "cmdline": "cmdline.txt"}
    for line in config.splitlines():
        text = line.strip()
        if text.startswith("["):
            section = text.lower()
        elif section == "[all]" and "=" in text and not text.startswith("#"):
            key, _, value = text.partition("=")
            words[key.strip()] = value.strip()
    return f"/{words['os_prefix']}{words['cmdline']}"


def _kernel_words(facts: Mapping[str, str], *, serial: bool) -> tuple[Edit, ...]:
    line = facts["cmdline"]
    words = cgroup_words("boot", line) if facts["memory_cgroup"] == "off" else ()
    if not serial:
        return words
    return (
        *words,
        EnsureLine(*stock.PI_CONFIG, "enable_uart=1"),
        EnsureToken("boot", line, f"console={facts['serial']}"),
    )
