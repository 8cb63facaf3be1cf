"""Raspberry Pi OS before late 2025 (bookworm): no cloud-init; all is written to ext4, or done by our first boot."""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.families import raspberry, wifi
from imagesmith.families.family import Given, facts_of
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.networkmanager import wired
from imagesmith.families.payload_files import masked, scripts_and_units
from imagesmith.families.promises import first_boot_promises, language_promises
from imagesmith.families.without_cloud_init import names
from imagesmith.model import Base, Edit, Promise


class RaspiosLegacy:
    """The first start runs the image's own `firstboot` instead of systemd: it grows the root partition, makes host
    keys, gives the disk a new id, takes its word out of cmdline.txt and restarts. Ours comes at the second start.
    """

    name = "raspios-legacy"
    wired = "wired"
    proven = "a stand-in; never booted"
    facts: Mapping[str, str] = {**raspberry.FACTS, "disk_swap": "dphys-swapfile.service"}
    clues: tuple[Clue, ...] = raspberry.CLUES

    def claims(self, found: Findings) -> str:
        seedless = found.has(*raspberry.ISSUE) and not found.has(*raspberry.SEED)
        return "it has /etc/rpi-issue, and no user-data on the boot partition" if seedless else ""

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        return raspberry.objections(found)

    def edits(self, given: Given) -> tuple[Edit, ...]:
        facts, node = facts_of(self, given.base), given.node
        return (
            *raspberry.starts(facts, node.settings),
            *raspberry.no_questions(facts),
            *names(node),
            wired(node),
            # Swap is on the card there, and this image has nothing for swap in memory.
            masked(facts["disk_swap"]),
            *wifi.network_manager(given, raspberry.CMDLINE),
            *scripts_and_units(given),
            *raspberry.kept_keys(given),
        )

    def promises(self, given: Given) -> tuple[Promise, ...]:
        kept = (promise for promise in first_boot_promises(given) if promise.fact != "zram")
        return (*kept, *language_promises(given))
