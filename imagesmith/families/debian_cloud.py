"""Debian's and Ubuntu's cloud images: cloud-init with its seed on ext4, netplan."""

from __future__ import annotations

from imagesmith.families.payload_files import SEED, first_boot, locale_source, no_identity, seed
from imagesmith.families.promises import cloud_init_promises, first_boot_promises
from imagesmith.model import Base, Documents, Edit, MakeDir, Materials, Node, Profile, Promise, PutFile

CLOUD_CFG = "/etc/cloud/cloud.cfg.d/99-imagesmith.cfg"
"""After the images' own files, whose list of metadata services this replaces."""


class DebianCloud:
    name = "debian-cloud"
    wired = "wired"
    proven = "not booted yet"

    def edits(
        self, node: Node, profile: Profile, base: Base, documents: Documents, materials: Materials
    ) -> tuple[Edit, ...]:
        return (
            *no_identity(),
            MakeDir("root", SEED, 0o700),
            *seed(documents),
            PutFile("root", CLOUD_CFG, materials.files["cloud-init/cloud.cfg"]),
            *locale_source(node.settings.locale),
            *first_boot(node, documents, materials),
        )

    def promises(self, node: Node, profile: Profile, base: Base) -> tuple[Promise, ...]:
        return (*first_boot_promises(node, profile), *cloud_init_promises(node))
