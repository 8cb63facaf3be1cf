"""Raspberry Pi OS since late 2025 (trixie): cloud-init reads its seed from the FAT boot partition."""

from __future__ import annotations

from imagesmith.families.payload_files import cgroup_words, enabled, first_boot, locale_source, seed
from imagesmith.families.promises import cloud_init_promises, first_boot_promises
from imagesmith.model import Base, Documents, Edit, Materials, Node, Profile, Promise, PutFile


class RaspiosCloudinit:
    """The image's own first boot stays: it grows the root partition and gives the disk a new id, which is why
    cmdline.txt is only added to. Everybody can read FAT, so nothing secret goes there."""

    name = "raspios-cloudinit"
    wired = "wired"
    proven = "not booted yet"

    def edits(
        self, node: Node, profile: Profile, base: Base, documents: Documents, materials: Materials
    ) -> tuple[Edit, ...]:
        return (
            *seed(documents, "boot", ""),
            # SSH is off in the image as published; either of these turns it on.
            PutFile("boot", "/ssh", b""),
            enabled("ssh.service"),
            *cgroup_words("boot", "/cmdline.txt"),
            *locale_source(node.settings.locale),
            *first_boot(node, documents, materials),
        )

    def promises(self, node: Node, profile: Profile, base: Base) -> tuple[Promise, ...]:
        return (*first_boot_promises(node, profile), *cloud_init_promises(node))
