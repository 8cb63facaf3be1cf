"""Debian's and Ubuntu's cloud images: cloud-init with its seed on ext4, netplan."""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.families.family import Given
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.payload_files import cloud_init, first_boot, locale_source
from imagesmith.families.promises import cloud_init_promises, first_boot_promises
from imagesmith.model import Base, Edit, Promise

CLOUD_CFG = "/etc/cloud/cloud.cfg.d/99-imagesmith.cfg"
"""After the images' own files, whose list of metadata services this replaces."""
_CLOUD_INIT: Clue = ("root", "/usr/bin/cloud-init")
_NETPLAN: Clue = ("root", "/usr/sbin/netplan")
_RASPBERRY: Clue = ("root", "/etc/rpi-issue")


class DebianGeneric:
    name = "debian-generic"
    wired = "wired"
    proven = "not booted yet"
    facts: Mapping[str, str] = {}
    clues: tuple[Clue, ...] = (_CLOUD_INIT, _NETPLAN, _RASPBERRY)
    system = "debian"
    """ID in os-release."""

    def claims(self, found: Findings) -> str:
        cloud = found.has(*_CLOUD_INIT) and found.has(*_NETPLAN) and not found.has(*_RASPBERRY)
        return (
            f"{self.system} with cloud-init and netplan" if cloud and found.os_release.get("ID") == self.system else ""
        )

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        return ()

    def edits(self, given: Given) -> tuple[Edit, ...]:
        return (
            *cloud_init(given, CLOUD_CFG),
            *locale_source(given.node.settings.locale),
            *first_boot(given),
        )

    def promises(self, given: Given) -> tuple[Promise, ...]:
        return (*first_boot_promises(given), *cloud_init_promises(given))


class UbuntuCloud(DebianGeneric):
    name = "ubuntu-cloud"
    system = "ubuntu"
