"""Debian's and Ubuntu's cloud images: cloud-init with its seed on ext4, netplan."""

from __future__ import annotations

from imagesmith.families.family import Given
from imagesmith.families.payload_files import cloud_init, first_boot, locale_source
from imagesmith.families.promises import cloud_init_promises, first_boot_promises
from imagesmith.model import Edit, Promise

CLOUD_CFG = "/etc/cloud/cloud.cfg.d/99-imagesmith.cfg"
"""After the images' own files, whose list of metadata services this replaces."""


class DebianCloud:
    name = "debian-cloud"
    wired = "wired"
    proven = "not booted yet"

    def edits(self, given: Given) -> tuple[Edit, ...]:
        return (
            *cloud_init(given, CLOUD_CFG),
            *locale_source(given.node.settings.locale),
            *first_boot(given),
        )

    def promises(self, given: Given) -> tuple[Promise, ...]:
        return (*first_boot_promises(given), *cloud_init_promises(given))
