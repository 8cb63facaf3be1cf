"""Debian made here from packages: cloud-init with its seed on ext4, systemd-networkd, on a Pi raspi-firmware."""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.families import wifi
from imagesmith.families.family import Given
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.payload_files import cgroup_words, cloud_init, enabled, first_boot, locale_source
from imagesmith.families.promises import cloud_init_promises, first_boot_promises
from imagesmith.model import Base, DebianSource, Edit, Promise, Remove

CLOUD_CFG = "/etc/cloud/cloud.cfg.d/90-imagesmith.cfg"
WAIT_ONLINE = "/etc/systemd/system/network-online.target.wants/systemd-networkd-wait-online.service"
"""It comes with systemd-networkd. Where every interface is optional it waits two minutes in vain, cloud-init behind it,
and fails, network or none (systemd 257)."""


class Debian:
    name = "debian"
    # cloud-init's renderer for systemd-networkd overlooks `match: name` and takes this for the interface's name,
    # which may be a pattern.
    wired = "e*"
    # What its packages set where nobody says anything: cloud-init would make the same keyboard once more.
    facts: Mapping[str, str] = {"keyboard": "us"}
    clues: tuple[Clue, ...] = (("root", "/usr/bin/cloud-init"), ("root", "/usr/sbin/netplan"))
    proven = "amd64: first and second boot in QEMU; arm64: first boot on QEMU's virt and raspi3b"

    def claims(self, found: Findings) -> str:
        # The vendors' images of Debian and of what comes from it have netplan, or no cloud-init.
        own = found.os_release.get("ID") == "debian" and found.has("root", "/usr/bin/cloud-init")
        return (
            "Debian with cloud-init and without netplan" if own and not found.has("root", "/usr/sbin/netplan") else ""
        )

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        return ()

    def edits(self, given: Given) -> tuple[Edit, ...]:
        return (
            *cloud_init(given, CLOUD_CFG),
            enabled("systemd-networkd.service"),
            Remove("root", WAIT_ONLINE),
            *wifi.wpa_supplicant(given),
            enabled("ssh.service"),
            *locale_source(given.node.settings.locale),
            *first_boot(given),
            *_kernel_words(given.base),
        )

    def promises(self, given: Given) -> tuple[Promise, ...]:
        return (
            *first_boot_promises(given),
            *cloud_init_promises(given),
            Promise("unit.systemd-networkd.service", "equals", "active", "it brings the network up"),
            Promise("unit.systemd-timesyncd.service", "equals", "active", "it keeps the clock"),
        )


def _kernel_words(base: Base) -> tuple[Edit, ...]:
    if not isinstance(base.source, DebianSource) or base.source.loader != "raspi-firmware":
        return ()
    return (
        *cgroup_words("boot", "/cmdline.txt"),
        # raspi-firmware writes cmdline.txt anew with every kernel and initramfs; these words it adds each time.
        *cgroup_words("root", "/etc/default/raspi-extra-cmdline"),
    )
