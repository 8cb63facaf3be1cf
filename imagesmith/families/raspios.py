"""Raspberry Pi OS since late 2025 (trixie): cloud-init reads its seed from the FAT boot partition."""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.families import raspberry, wifi
from imagesmith.families.family import Given, facts_of
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.payload_files import locale_source, scripts_and_units, seed
from imagesmith.families.promises import cloud_init_promises, first_boot_promises
from imagesmith.model import Base, Edit, Promise, PutFile

CLOUD_CFG = "/etc/cloud/cloud.cfg.d/90-imagesmith.cfg"


class RaspiosCloudinit:
    """The image's own first boot stays: it grows the root partition, gives the disk a new id and makes host keys.
    So cmdline.txt is only added to. Everybody can read FAT, so nothing secret goes there.

    Its cloud-init (25.2+rpt) does not make the first user but renames the image's own to it.
    """

    name = "raspios-cloudinit"
    wired = "wired"
    proven = "a stand-in; first boot of the mechanism on QEMU's virt; the image itself was never booted"
    facts: Mapping[str, str] = {**raspberry.FACTS, "swap": "/etc/rpi/swap.conf.d/50-imagesmith.conf"}
    clues: tuple[Clue, ...] = raspberry.CLUES

    def claims(self, found: Findings) -> str:
        seeded = found.has(*raspberry.ISSUE) and found.has(*raspberry.SEED)
        return "it has /etc/rpi-issue, and user-data on the boot partition" if seeded else ""

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        return raspberry.objections(found)

    def edits(self, given: Given) -> tuple[Edit, ...]:
        facts, settings = facts_of(self, given.base), given.node.settings
        return (
            *seed(given.documents, "boot", ""),
            *raspberry.starts(facts, settings),
            *raspberry.no_questions(facts),
            *locale_source(settings.locale),
            *wifi.network_manager(given, raspberry.CMDLINE),
            *scripts_and_units(given),
            *raspberry.kept_keys(given),
            *_kept_keys(given),
            PutFile("root", facts["swap"], rpi_swap(settings.zram_percent)),
        )

    def promises(self, given: Given) -> tuple[Promise, ...]:
        return (*first_boot_promises(given), *cloud_init_promises(given))


def _kept_keys(given: Given) -> tuple[Edit, ...]:
    """The image's settings say so too, as read in 2026; without them cloud-init removes what it did not make."""
    return (PutFile("root", CLOUD_CFG, b"ssh_deletekeys: false\n"),) if given.host_keys else ()


def rpi_swap(percent: int) -> bytes:
    """rpi-swap's settings: swap in memory only. Left alone it moves idle pages to a file on the card.

    It drives zram-generator itself, whose own file in /etc would take away what rpi-swap's units depend on.
    """
    if not percent:
        return b"[Main]\nMechanism=none\n"
    # The limit is otherwise 2 GiB; this one is above what any Pi has.
    return f"[Main]\nMechanism=zram\n\n[Zram]\nRamMultiplier={percent / 100:g}\nMaxSizeMiB=32768\n".encode()
