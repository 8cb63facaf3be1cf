"""Debian's and Ubuntu's cloud images: cloud-init with its seed on ext4, netplan."""

from __future__ import annotations

from imagesmith.families.family import Wanted
from imagesmith.families.payload_files import cloud_init, first_boot, locale_source
from imagesmith.families.promises import cloud_init_promises, first_boot_promises
from imagesmith.model import Edit, Promise

CLOUD_CFG = "/etc/cloud/cloud.cfg.d/99-imagesmith.cfg"
"""After the images' own files, whose list of metadata services this replaces."""


class DebianCloud:
    name = "debian-cloud"
    wired = "wired"
    proven = "not booted yet"

    def edits(self, wanted: Wanted) -> tuple[Edit, ...]:
        return (
            *cloud_init(wanted, CLOUD_CFG),
            *locale_source(wanted.node.settings.locale),
            *first_boot(wanted),
        )

    def promises(self, wanted: Wanted) -> tuple[Promise, ...]:
        return (*first_boot_promises(wanted), *cloud_init_promises(wanted))
