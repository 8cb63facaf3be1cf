"""What the stock images of Debian and Ubuntu have in common, on a PC and on a Pi: cloud-init and netplan.

Called by the families `debian-generic`, `ubuntu-cloud` and `ubuntu-raspi`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from imagesmith.families import wifi
from imagesmith.families.family import Given
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.payload_files import UNITS, cloud_init, enabled, locale_source, scripts_and_units
from imagesmith.families.promises import cloud_init_promises, first_boot_promises
from imagesmith.families.without_cloud_init import keyboard
from imagesmith.model import Edit, Link, Promise, Remove

CLOUD_CFG = "/etc/cloud/cloud.cfg.d/99-imagesmith.cfg"
"""After the images' own files, whose list of metadata services this replaces."""
CLOUD_INIT: Clue = ("root", "/usr/bin/cloud-init")
NETPLAN: Clue = ("root", "/usr/sbin/netplan")
DISABLED: Clue = ("root", "/etc/cloud/cloud-init.disabled")
PI_CONFIG: Clue = ("boot", "/config.txt")
PI_ISSUE: Clue = ("root", "/etc/rpi-issue")
CLUES: tuple[Clue, ...] = (CLOUD_INIT, NETPLAN, DISABLED, PI_CONFIG, PI_ISSUE)

_WAIT_ONLINE = "/etc/systemd/system/network-online.target.wants/systemd-networkd-wait-online.service"
"""Where every interface is optional it waits two minutes in vain, unless netplan is new enough to keep it from that."""


def objections(found: Findings) -> tuple[str, ...]:
    """What keeps cloud-init from doing anything."""
    return (f"its cloud-init is switched off ({DISABLED[1]})",) if found.has(*DISABLED) else ()


FACTS: Mapping[str, str] = {"ssh": "ssh.socket", "keyboard": "cloud-init"}
"""`ssh`: the unit that waits for log-ins. `keyboard`: `file` where the image has no console-setup, for want of which
cloud-init's own way fails; the file is then written here."""


def edits(given: Given, facts: Mapping[str, str]) -> tuple[Edit, ...]:
    """All that is alike: the seed on ext4, the network, the language, our first boot."""
    return (
        *cloud_init(given, CLOUD_CFG),
        Remove("root", _WAIT_ONLINE),
        listening(facts["ssh"]),
        *wifi.netplan(given),
        *locale_source(given.node.settings.locale),
        *((keyboard(given.node.settings.keyboard),) if facts["keyboard"] == "file" else ()),
        *scripts_and_units(given),
    )


def listening(unit: str) -> Link:
    """SSH is started at boot: by `ssh.service`, or by `ssh.socket`, which starts sshd for the first who knocks."""
    if unit.endswith(".socket"):
        return Link("root", f"/etc/systemd/system/sockets.target.wants/{unit}", f"{UNITS}/{unit}")
    return enabled(unit)


def promises(given: Given, facts: Mapping[str, str]) -> tuple[Promise, ...]:
    """As of every image, but with SSH's own unit, and without swap in memory, for which these have no program."""
    common = (
        replace(promise, fact=f"unit.{facts['ssh']}") if promise.fact == "unit.ssh.service" else promise
        for promise in first_boot_promises(given)
        if promise.fact != "zram"
    )
    return (*common, *cloud_init_promises(given))
