"""Armbian: one ext4 partition, no cloud-init. What that would do is written here, or done by the first boot's steps.

What of Armbian's own is switched off, what is kept, and why: docs/armbian.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagesmith.families import wifi
from imagesmith.families.debian import WAIT_ONLINE
from imagesmith.families.family import Given, facts_of
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.payload_files import enabled, no_identity, scripts_and_units
from imagesmith.families.promises import first_boot_promises, language_promises
from imagesmith.families.without_cloud_init import names
from imagesmith.model import Base, Edit, EnsureWord, Link, LockAccount, Promise, PutFile, Remove, RemoveKey, SetKey
from imagesmith.units import MiB

_RELEASE: Clue = ("root", "/etc/armbian-release")
_UNITS = "/etc/systemd/system"
_OF_ITS_OWN = ("armbian-firstrun.service", "armbian-resize-filesystem.service")
"""Armbian's first boot. The first makes host keys anew, gives the network card a random address and starts the network
over with it; the second grows the root partition, though not to the end of the disk. Both are done by our steps."""
_HOST_KEYS = b"""\
# Keys that the image brings stay; those that are missing are made before the first start.
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
"""
_KEPT_JOURNAL = b"# What was logged before a power cut is there after it.\n[Journal]\nStorage=persistent\n"
_CHOICES: Mapping[str, tuple[str, str]] = {"mac": ("set", "match"), "logs_in_memory": ("no", "yes")}
_NONE = "none"
"""As a fact: the image has no such file."""


class Armbian:
    """The boot loader lies before the first partition and is never touched; nothing here is outside ext4."""

    name = "armbian"
    # The id that the image's own netplan file uses: netplan then takes ours for the same interfaces, and not for others
    # beside them. systemd-networkd goes by the first of netplan's files, in the order of these ids.
    wired = "all-eth-interfaces"
    proven = "a stand-in; first boot of the mechanism on QEMU's virt; the image itself was never booted"
    facts: Mapping[str, str] = {
        "board": "",
        "root_label": "armbi_root",
        "environment": "/boot/armbianEnv.txt",
        "kernel_words": "cgroup_enable=memory",
        "serial_port": "ttyAML0",
        "mac": "set",
        "netplan": "/etc/netplan/10-dhcp-all-interfaces.yaml",
        "logs_in_memory": "no",
        "ramlog": "/etc/default/armbian-ramlog",
        "zram": "/etc/default/armbian-zram-config",
    }
    """`board`: BOARD of /etc/armbian-release, empty = any. `mac`: whether a node's wired card is given the address that
    the inventory names, or found by it. `netplan`, `ramlog`, `zram`: `none` where an image has no such file."""
    clues: tuple[Clue, ...] = (
        _RELEASE,
        ("root", facts["environment"]),
        ("root", facts["ramlog"]),
        ("root", facts["zram"]),
    )

    def claims(self, found: Findings) -> str:
        return "it has /etc/armbian-release" if found.has(*_RELEASE) else ""

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        facts = facts_of(self, base)
        different = (*_other_facts(facts), *_other_board(found, facts), *_other_layout(found, facts))
        return (*different, *self._lacks(found, facts))

    def edits(self, given: Given) -> tuple[Edit, ...]:
        facts = facts_of(self, given.base)
        return (
            *no_identity(),
            *_no_questions(),
            *names(given.node),
            *_network(given, facts),
            *wifi.netplan(given),
            # The image's root password is known to everybody.
            LockAccount("root", "/etc/shadow", "root"),
            PutFile("root", f"{_UNITS}/ssh.service.d/10-imagesmith.conf", _HOST_KEYS),
            enabled("ssh.service"),
            *_boot_environment(given, facts),
            *_memory(given, facts),
            *scripts_and_units(given),
        )

    def promises(self, given: Given) -> tuple[Promise, ...]:
        facts = facts_of(self, given.base)
        on_disk = facts["logs_in_memory"] != "yes"
        # Without Armbian's service there is nothing in its images that sets up swap in memory.
        common = (one for one in first_boot_promises(given) if one.fact != "zram" or facts["zram"] != _NONE)
        return (
            *common,
            *language_promises(given),
            Promise("root_password", "equals", "locked", "the image's own is known to everybody"),
            Promise("logs_on_root", "equals", "yes" if on_disk else "no", "logs are where they were asked for"),
        )

    def _lacks(self, found: Findings, facts: Mapping[str, str]) -> list[str]:
        """Files that are to be changed. One that a fact names otherwise is looked for when it is changed."""
        wanted = [facts[name] for name in ("environment", "ramlog", "zram") if facts[name] == self.facts[name]]
        return [f"it has no {path}" for path in wanted if not found.has("root", path)]


def _other_facts(facts: Mapping[str, str]) -> list[str]:
    return [
        f"the base's fact `{name}` is {facts[name]!r}, which is neither {' nor '.join(words)}"
        for name, words in _CHOICES.items()
        if facts[name] not in words
    ]


def _other_board(found: Findings, facts: Mapping[str, str]) -> list[str]:
    written = re.search(r"^BOARD=[\"']?([^\"'\s]*)", found.text(*_RELEASE), re.MULTILINE)
    board = written[1] if written else "no board"
    if facts["board"] in ("", board):
        return []
    return [f"/etc/armbian-release says it is for {board}, the base is for {facts['board']}"]


def _other_layout(found: Findings, facts: Mapping[str, str]) -> list[str]:
    if len(found.volumes) != 1:
        return [f"it has {len(found.volumes)} partitions ({'; '.join(found.volumes)}), there should be one"]
    wanted = f"(ext4 {facts['root_label']!r})"
    return [] if wanted in found.volumes[0] else [f"its only partition should be {wanted}, and is {found.volumes[0]}"]


def _no_questions() -> tuple[Edit, ...]:
    """No wizard at the first log-in, no log-in of root on the consoles that leads to it, no first boot beside ours."""
    return (
        Remove("root", "/root/.not_logged_in_yet"),
        Remove("root", f"{_UNITS}/getty@.service.d/override.conf"),
        Remove("root", f"{_UNITS}/serial-getty@.service.d/override.conf"),
        *(Link("root", f"{_UNITS}/{unit}", "/dev/null") for unit in _OF_ITS_OWN),
    )


def _network(given: Given, facts: Mapping[str, str]) -> list[Edit]:
    edits: list[Edit] = [PutFile("root", "/etc/netplan/90-imagesmith.yaml", given.documents.network_config, 0o600)]
    if facts["netplan"] != _NONE:
        # Its DHCP on every card would be merged with what this node was given.
        edits.append(Remove("root", facts["netplan"]))
    edits.append(Remove("root", WAIT_ONLINE))
    return edits


def _boot_environment(given: Given, facts: Mapping[str, str]) -> list[Edit]:
    """What the boot script imports. Beside the words for k3s and one address only what the node asks for changes."""
    path, mac = facts["environment"], given.node.network.mac
    edits: list[Edit] = [EnsureWord("root", path, "extraargs", word) for word in facts["kernel_words"].split()]
    # The boot script adds words for containers by itself, unless this says otherwise.
    edits.append(SetKey("root", path, "docker_optimizations", "on"))
    if mac and facts["mac"] == "set":
        edits.append(SetKey("root", path, "ethaddr", mac))
    else:
        # The same in every image; Armbian's first boot would have drawn another. The board has one of its own.
        edits.append(RemoveKey("root", path, "ethaddr"))
    if given.node.settings.serial_console:
        getty = f"{_UNITS}/getty.target.wants/serial-getty@{facts['serial_port']}.service"
        edits.append(SetKey("root", path, "console", "both"))
        edits.append(Link("root", getty, "/usr/lib/systemd/system/serial-getty@.service"))
    return edits


def _memory(given: Given, facts: Mapping[str, str]) -> list[Edit]:
    """Swap in memory by Armbian's own service, and logs on the card."""
    settings, edits = given.node.settings, list[Edit]()
    if facts["zram"] != _NONE:
        swap = {"SWAP": "false"}
        if settings.zram_percent:
            swap = {"SWAP": "true", "ZRAM_PERCENTAGE": str(settings.zram_percent), "SWAP_ALGORITHM": "zstd"}
        edits += [SetKey("root", facts["zram"], key, value) for key, value in {"ENABLED": "true", **swap}.items()]
    in_memory = facts["logs_in_memory"] == "yes"
    if not in_memory:
        edits.append(PutFile("root", "/etc/systemd/journald.conf.d/40-imagesmith-armbian.conf", _KEPT_JOURNAL))
    if facts["ramlog"] != _NONE:
        edits.append(SetKey("root", facts["ramlog"], "ENABLED", "true" if in_memory else "false"))
        if in_memory:
            # Room for the journal as large as it may get, and for the rest.
            edits.append(SetKey("root", facts["ramlog"], "SIZE", f"{-(-settings.journal_max // MiB) + 32}M"))
    return edits
