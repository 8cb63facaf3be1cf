"""Ubuntu Server's live medium: an installer that asks nothing, overwrites one named disk and brings the node's files.

What lies on the medium and what it does is told in docs/installer.md, why in docs/adr/0010-installer-medium.md.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace

from imagesmith.errors import UsageError
from imagesmith.families.debian_cloud import UbuntuCloud
from imagesmith.families.family import Given, fact
from imagesmith.families.findings import Clue, Findings
from imagesmith.model import Base, BootWords, Edit, Network, Node, Promise, PutFile, Remove, TargetDisk

FOLDER = "/imagesmith"
"""On the medium: our two scripts, what they are told, and what `image.payload` packs for the installed system."""
SEED = "/nocloud"
UNCHOSEN = "/dev/imagesmith-has-not-chosen"
"""No disk. installer/choose-disk puts the chosen one in its place, so without it nothing is overwritten."""
_MENU = "/boot/grub/grub.cfg"
_INFO: Clue = ("medium", "/.disk/info")
_LEFT_BY_INSTALLER = (
    "/etc/cloud/cloud.cfg.d/99-installer.cfg",
    "/etc/cloud/cloud.cfg.d/90-installer-network.cfg",
    "/etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg",
    "/etc/cloud/cloud-init.disabled",
    "/etc/netplan/00-installer-config.yaml",
    "/etc/netplan/00-installer-config-wifi.yaml",
    "/etc/netplan/50-cloud-init.yaml",
)
"""By name of subiquity and curtin from 22.04 to 26.04: its own first boot, network and the end of cloud-init."""


class UbuntuLive:
    name = "ubuntu-live"
    wired = "wired"
    proven = "a stand-in, compared byte by byte; no installation was tried"
    facts: Mapping[str, str] = {"menu": _MENU, "loopback_menu": "/boot/grub/loopback.cfg", "serial": "ttyS0,115200"}
    clues: tuple[Clue, ...] = (
        _INFO,
        ("medium", _MENU),
        ("medium", "/md5sum.txt"),
        ("medium", "/isolinux/isolinux.cfg"),
    )

    def claims(self, found: Findings) -> str:
        info = found.text(*_INFO).strip()
        return f"its .disk/info says {info[:60]!r}" if info.startswith("Ubuntu-Server ") else ""

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        menu = fact(self, base, "menu")
        clauses = []
        if menu == _MENU and "/casper/" not in found.text("medium", menu):
            clauses.append(f"its {menu} starts no kernel of /casper")
        if not found.has("medium", "/md5sum.txt"):
            clauses.append("it has no md5sum.txt")
        if found.has("medium", "/isolinux/isolinux.cfg"):
            clauses.append("it has menus of ISOLINUX too, as before 20.10, and they would go on asking")
        return tuple(clauses)

    def edits(self, given: Given) -> tuple[Edit, ...]:
        """Those of the medium, and those of the system that it installs. Raises UsageError where no disk is named."""
        disk = given.node.disk
        if disk is None:
            raise UsageError(
                f"the base {given.base.name} makes an installer that overwrites a whole disk of {given.node.name}, "
                "and nothing says which",
                hint="give the node `disk: {serial: ...}`, or --set disk=serial=...; see docs/installer.md",
            )
        return (*self._medium(given, disk), *_installed(given))

    def promises(self, given: Given) -> tuple[Promise, ...]:
        return UbuntuCloud().promises(given)

    def _medium(self, given: Given, disk: TargetDisk) -> tuple[Edit, ...]:
        settings, files, base = given.node.settings, given.materials.files, given.base
        answers = f"#cloud-config\n{json.dumps({'autoinstall': _answers(given.node)}, indent=2)}\n".encode()
        asked_nothing = ("autoinstall", f"ds=nocloud;s=/cdrom{SEED}/")
        # What stands behind the --- is carried into the installed system's own kernel line.
        console = ("console=tty0", f"console={fact(self, base, 'serial')}") if settings.serial_console else ()
        return (
            PutFile("medium", f"{SEED}/user-data", answers, 0o444),
            PutFile("medium", f"{SEED}/meta-data", b"instance-id: imagesmith-installer\n", 0o444),
            # The same once more, for the installer itself, should cloud-init not come to read the other.
            PutFile("medium", "/autoinstall.yaml", answers, 0o444),
            PutFile("medium", f"{FOLDER}/disk.conf", _disk_conf(disk), 0o444),
            PutFile("medium", f"{FOLDER}/choose-disk", files["installer/choose-disk"], 0o555),
            PutFile("medium", f"{FOLDER}/install", files["installer/install"], 0o555),
            BootWords("medium", fact(self, base, "menu"), asked_nothing, console),
            BootWords("medium", fact(self, base, "loopback_menu"), asked_nothing, console),
        )


def _installed(given: Given) -> tuple[Edit, ...]:
    """As in Ubuntu's cloud image, once what the installer leaves for a first boot of its own is gone."""
    # The serial console comes by the kernel's line, see above.
    node = replace(given.node, settings=replace(given.node.settings, serial_console=False))
    return (*(Remove("root", path) for path in _LEFT_BY_INSTALLER), *UbuntuCloud().edits(replace(given, node=node)))


def _answers(node: Node) -> dict[str, object]:
    """What the installer would ask. Keys by its reference; none of them may hold a secret, since it keeps a copy."""
    settings = node.settings
    answers: dict[str, object] = {
        "version": 1,
        "early-commands": [["sh", f"/cdrom{FOLDER}/choose-disk", f"/cdrom{FOLDER}/disk.conf", "/autoinstall.yaml"]],
        "locale": settings.locale,
        "keyboard": {"layout": settings.keyboard},
        "timezone": settings.timezone,
        "storage": {"layout": {"name": "direct", "match": {"path": UNCHOSEN}}},
        "ssh": {"install-server": True, "allow-pw": False},
        # It stands for an account, which the first boot makes; without either the installer stops.
        "user-data": {"disable_root": True},
        "apt": {"fallback": "offline-install", "geoip": False},
        "shutdown": settings.after_install,
        "late-commands": [["sh", f"/cdrom{FOLDER}/install", f"/cdrom{FOLDER}", "/target"]],
    }
    if node.network.address:
        answers["network"] = _network(node.network)
    return answers


def _network(network: Network) -> dict[str, object]:
    """While it installs; what the node has later is in its own seed. Where there is no address it asks DHCP anyway."""
    card: dict[str, object] = {
        "match": {"macaddress": network.mac} if network.mac else {"name": "e*"},
        "dhcp4": False,
        "optional": True,
        "addresses": [network.address],
    }
    if network.gateway:
        card["routes"] = [{"to": "default", "via": network.gateway}]
    if network.nameservers:
        card["nameservers"] = {"addresses": list(network.nameservers)}
    return {"version": 2, "ethernets": {"wired": card}}


def _disk_conf(disk: TargetDisk) -> bytes:
    """What installer/choose-disk reads."""
    ssd = "" if disk.ssd is None else "yes" if disk.ssd else "no"
    values = {
        "DISK_SERIAL": disk.serial,
        "DISK_SIZE": disk.size,
        "DISK_AT_LEAST": disk.at_least,
        "DISK_AT_MOST": disk.at_most,
        "DISK_SSD": ssd,
    }
    return "".join(f"{key}={shlex.quote(str(value))}\n" for key, value in values.items()).encode()
