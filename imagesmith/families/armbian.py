"""Armbian: one ext4 partition, no cloud-init. What that would do is written here, or done by the first boot's steps."""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.families.family import Given
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.payload_files import enabled, first_boot
from imagesmith.families.promises import first_boot_promises
from imagesmith.families.without_cloud_init import keys_only, names
from imagesmith.model import Base, Edit, EnsureLine, Promise, PutFile, Remove


class Armbian:
    """The boot loader lies before the first partition and is never touched; nothing here is outside ext4.

    `armbian-firstrun` makes new host keys at the first boot, which is what every node needs; it is left to it.
    """

    name = "armbian"
    wired = "wired"
    proven = "not booted yet"
    facts: Mapping[str, str] = {"environment": "/boot/armbianEnv.txt"}
    clues: tuple[Clue, ...] = (("root", "/etc/armbian-release"), ("root", "/boot/armbianEnv.txt"))

    def claims(self, found: Findings) -> str:
        return "it has /etc/armbian-release" if found.has("root", "/etc/armbian-release") else ""

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        return ()

    def edits(self, given: Given) -> tuple[Edit, ...]:
        return (
            *_no_questions(),
            *names(given.node),
            PutFile("root", "/etc/netplan/90-imagesmith.yaml", given.documents.network_config, 0o600),
            # The image's root password is known to everybody, until the account step locks it.
            keys_only(),
            enabled("ssh.service"),
            # The boot script then adds cgroup_enable=memory, which k3s needs.
            EnsureLine("root", "/boot/armbianEnv.txt", "docker_optimizations=on"),
            *first_boot(given),
        )

    def promises(self, given: Given) -> tuple[Promise, ...]:
        return first_boot_promises(given)


def _no_questions() -> tuple[Edit, ...]:
    """The wizard of the first log-in, and root's log-in on the console that leads to it."""
    return (
        Remove("root", "/root/.not_logged_in_yet"),
        Remove("root", "/etc/systemd/system/getty@.service.d/override.conf"),
        Remove("root", "/etc/systemd/system/serial-getty@.service.d/override.conf"),
    )
