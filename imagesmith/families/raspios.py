"""Raspberry Pi OS since late 2025 (trixie): cloud-init reads its seed from the FAT boot partition."""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.families.family import Given
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.payload_files import cgroup_words, enabled, first_boot, locale_source, seed
from imagesmith.families.promises import cloud_init_promises, first_boot_promises
from imagesmith.model import Base, Edit, Promise, PutFile


class RaspiosCloudinit:
    """The image's own first boot stays: it grows the root partition and gives the disk a new id, which is why
    cmdline.txt is only added to. Everybody can read FAT, so nothing secret goes there."""

    name = "raspios-cloudinit"
    wired = "wired"
    proven = "not booted yet"

    facts: Mapping[str, str] = {"cmdline": "/cmdline.txt"}
    clues: tuple[Clue, ...] = (("root", "/etc/rpi-issue"), ("boot", "/user-data"), ("boot", "/cmdline.txt"))

    def claims(self, found: Findings) -> str:
        seeded = found.has("root", "/etc/rpi-issue") and found.has("boot", "/user-data")
        return "it has /etc/rpi-issue, and user-data on the boot partition" if seeded else ""

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        return ()

    def edits(self, given: Given) -> tuple[Edit, ...]:
        return (
            *seed(given.documents, "boot", ""),
            # SSH is off in the image as published; either of these turns it on.
            PutFile("boot", "/ssh", b""),
            enabled("ssh.service"),
            *cgroup_words("boot", "/cmdline.txt"),
            *locale_source(given.node.settings.locale),
            *first_boot(given),
        )

    def promises(self, given: Given) -> tuple[Promise, ...]:
        return (*first_boot_promises(given), *cloud_init_promises(given))
