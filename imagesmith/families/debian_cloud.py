"""Debian's and Ubuntu's cloud images, for PCs: GRUB on GPT, cloud-init with its seed on ext4, netplan.

Updates that come by themselves (unattended-upgrades) and snapd stay as the publishers set them: security fixes are
wanted, and neither is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.families import grub, stock
from imagesmith.families.family import Given, facts_of
from imagesmith.families.findings import Clue, Findings
from imagesmith.model import Base, Edit, Promise

_CLOUD_KERNELS: tuple[Clue, ...] = tuple(
    ("root", f"/var/lib/dpkg/info/linux-image-cloud-{architecture}.list") for architecture in ("amd64", "arm64")
)


class DebianGeneric:
    """The root is not known by its number: it is p1 and last on the disk, and /boot may be a partition of its own."""

    name = "debian-generic"
    wired = "wired"
    proven = "a stand-in; never booted"
    facts: Mapping[str, str] = {
        **stock.FACTS, "ssh": "ssh.service", "keyboard": "file", "serial": "ttyS0,115200", "kernel": "generic",
    }  # fmt: skip
    """`serial`: console= of the first serial port. `kernel`: `cloud` takes an
    image whose kernel has drivers for virtual machines only (genericcloud)."""
    clues: tuple[Clue, ...] = (*stock.CLUES, *_CLOUD_KERNELS)
    system = "debian"
    """ID in os-release."""
    of_a_pi = stock.PI_ISSUE
    """What the same system's image for a Pi has."""

    def claims(self, found: Findings) -> str:
        cloud = found.has(*stock.CLOUD_INIT) and found.has(*stock.NETPLAN) and not found.has(*self.of_a_pi)
        return (
            f"{self.system} with cloud-init and netplan" if cloud and found.os_release.get("ID") == self.system else ""
        )

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        told = list(stock.objections(found))
        if any(found.has(*kernel) for kernel in _CLOUD_KERNELS) and facts_of(self, base).get("kernel") != "cloud":
            told.append(
                "it has Debian's cloud kernel (its image `genericcloud`), which lacks drivers of real hardware: take"
                " `generic`, or for a virtual machine write `facts: {kernel: cloud}` in the base"
            )
        return tuple(told)

    def edits(self, given: Given) -> tuple[Edit, ...]:
        facts = facts_of(self, given.base)
        serial = grub.serial_console(facts["serial"]) if given.node.settings.serial_console else ()
        return (*stock.edits(given, facts), *serial)

    def promises(self, given: Given) -> tuple[Promise, ...]:
        return stock.promises(given, facts_of(self, given.base))


class UbuntuCloud(DebianGeneric):
    """Since 22.10 it is systemd that listens for SSH."""

    name = "ubuntu-cloud"
    proven = "a stand-in; first boot of the mechanism on QEMU's q35 under OVMF; the image itself was never booted"
    system = "ubuntu"
    of_a_pi = stock.PI_CONFIG
    facts: Mapping[str, str] = {**stock.FACTS, "serial": "ttyS0,115200"}
