"""Systems that are known and can't be set up here: told by name, with the reason, instead of as unknown.

Called by `families.recognise`, and before it by `workflow.build`, since many of these have no root that we could read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imagesmith.errors import EditFailed
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.raspberry import ISSUE, SEED


@dataclass(frozen=True, slots=True)
class Foreign:
    title: str
    clues: tuple[Clue, ...]
    claims: Callable[[Findings], str]
    """What shows it, one clause; empty when it is something else."""
    reason: str
    hint: str


def refuse(found: Findings) -> None:
    """Raise EditFailed for a system that is known not to work."""
    for foreign in FOREIGN:
        if because := foreign.claims(found):
            raise EditFailed(
                f"this is {foreign.title} ({because}), which imagesmith can't set up: {foreign.reason}",
                where=found.where,
                hint=foreign.hint,
            )


def _path(*clues: Clue) -> Callable[[Findings], str]:
    """Shown by any one of these paths."""

    def claims(found: Findings) -> str:
        role, path = next((clue for clue in clues if found.has(*clue)), ("", ""))
        return f"it has {path} on the {role} partition" if path else ""

    return claims


def _label(label: str) -> Callable[[Findings], str]:
    """Shown by a file system of this name, in any case."""

    def claims(found: Findings) -> str:
        quoted = f"'{label.lower()}'"
        return f"a partition is called {label}" if any(quoted in each.lower() for each in found.volumes) else ""

    return claims


def _either(*ways: Callable[[Findings], str]) -> Callable[[Findings], str]:
    return lambda found: next((because for way in ways if (because := way(found))), "")


def _identity(*names: str) -> Callable[[Findings], str]:
    """Shown by ID in os-release."""

    def claims(found: Findings) -> str:
        name = found.os_release.get("ID", "")
        return f"its os-release says ID={name}" if name in names else ""

    return claims


def _at(role: str, *paths: str) -> tuple[Clue, ...]:
    return tuple((role, path) for path in paths)  # type: ignore[misc]


_PRESEED_FILES: tuple[Clue, ...] = (
    ("boot", "/rpi-preseed.toml"),
    ("root", "/usr/bin/rpi-preseed"),
    ("root", "/usr/lib/systemd/system/rpi-preseed.service"),
)


def _preseed(found: Findings) -> str:
    # Installed beside a seed for cloud-init, and without its own file, it does nothing.
    asleep = found.has(*SEED) and not found.has(*_PRESEED_FILES[0])
    return "" if asleep else _path(*_PRESEED_FILES)(found)


_ARMHF: Clue = ("root", "/usr/lib/ld-linux-armhf.so.3")
_AARCH64: Clue = ("root", "/usr/lib/ld-linux-aarch64.so.1")


def _raspbian(found: Findings) -> str:
    narrow = found.has(*ISSUE) and found.has(*_ARMHF) and not found.has(*_AARCH64)
    return "it has /etc/rpi-issue and programs for 32-bit ARM only" if narrow else _identity("raspbian")(found)


def _desktop(found: Findings) -> str:
    return _path(*_WIZARD)(found) if found.has(*ISSUE) else ""


_WIZARD = _at("root", "/etc/xdg/autostart/piwiz.desktop", "/usr/bin/piwiz")
_DIETPI = (
    *_at("boot", "/dietpi.txt", "/dietpi/.version"),
    *_at("root", "/boot/dietpi/.version", "/boot/dietpi.txt"),
)
_ELEC = _at("boot", "/SYSTEM")
_OPENWRT = _at("boot", "/distroconfig.txt")
_NOOBS = _at("boot", "/recovery.cmdline", "/recovery.rfs")
_ALPINE = _at("boot", "/.alpine-release")
_FEDORA = _at("esp", "/EFI/fedora")

_ARMBIAN: tuple[Clue, ...] = (("root", "/etc/armbian-release"), ("root", "/usr/bin/cloud-init"))


def _armbian_with_cloud_init(found: Findings) -> str:
    return "it has /etc/armbian-release, and cloud-init" if all(found.has(*clue) for clue in _ARMBIAN) else ""


_TAKE_PI = "take Raspberry Pi OS Lite (64-bit), which the base raspios names"
_NO_ROOM = "its system is read-only and is replaced as a whole, so there is no place for a node's files and for k3s"
_OTHER = "imagesmith writes for Debian, Ubuntu, Raspberry Pi OS and Armbian, and knows nothing of its first boot"
_TAKE_ANY = "docs/boards.md tells which images are known"


def _debian_without_cloud_init(found: Findings) -> str:
    bare = found.os_release.get("ID") == "debian" and found.has(*_GRUB)
    other = any(found.has(*clue) for clue in (ISSUE, *_MORE_THAN_DEBIAN))
    return "it has GRUB and no /usr/bin/cloud-init" if bare and not other else ""


_GRUB: Clue = ("root", "/boot/grub/grub.cfg")
_MORE_THAN_DEBIAN = _at("root", "/usr/bin/cloud-init", "/etc/armbian-release")

FOREIGN: tuple[Foreign, ...] = (
    Foreign(
        "a Debian without cloud-init, as its `nocloud` images are", (_GRUB, *_MORE_THAN_DEBIAN),
        _debian_without_cloud_init,
        "nothing in it reads a node's seed, and in `nocloud` root logs in without a password",
        "take the image `generic`, which the base debian-generic names",
    ),
    Foreign(
        "Raspberry Pi OS with rpi-preseed", _PRESEED_FILES, _preseed,
        "its first boot takes rpi-preseed.toml, a way that is still changing, and no seed for cloud-init",
        "take a release with cloud-init, as the base raspios names it",
    ),
    Foreign(
        "Armbian built with cloud-init", _ARMBIAN, _armbian_with_cloud_init,
        "its first boot is led from a FAT partition, which Armbian's own downloads do not have",
        "take Armbian's minimal image for the board, as the base armbian names it",
    ),
    Foreign(
        "DietPi", _DIETPI, _path(*_DIETPI),
        "its own installer does at the first boot what cloud-init or a first boot's scripts would do", _TAKE_PI,
    ),
    Foreign(
        "Raspberry Pi OS, 32 bit", (_ARMHF, _AARCH64), _raspbian,
        "k3s and its container images are wanted for 64 bit here", _TAKE_PI,
    ),
    Foreign(
        "Raspberry Pi OS with desktop", _WIZARD, _desktop,
        "its first boot asks on the screen, and a desktop takes the memory that k3s needs", _TAKE_PI,
    ),
    Foreign("Home Assistant OS", (), _either(_label("hassos-boot"), _identity("haos", "hassos")), _NO_ROOM, _TAKE_PI),
    Foreign(
        "LibreELEC or CoreELEC", _ELEC,
        _either(_label("LIBREELEC"), _label("COREELEC"), _path(*_ELEC), _identity("libreelec", "coreelec")),
        _NO_ROOM, _TAKE_PI,
    ),
    Foreign("OpenWrt", _OPENWRT, _either(_identity("openwrt"), _path(*_OPENWRT)), _NO_ROOM, _TAKE_PI),
    Foreign(
        "NOOBS or PINN", _NOOBS, _path(*_NOOBS),
        "it is an installer, which asks on the screen what it is to fetch", _TAKE_PI,
    ),
    Foreign("Alpine Linux", _ALPINE, _either(_identity("alpine"), _path(*_ALPINE)), _OTHER, _TAKE_ANY),
    Foreign("Fedora", _FEDORA, _either(_identity("fedora"), _path(*_FEDORA)), _OTHER, _TAKE_ANY),
    Foreign("Ubuntu Core", (), _identity("ubuntu-core"), _NO_ROOM, "take Ubuntu Server"),
    *(
        Foreign(title, (), _identity(*names), _OTHER, _TAKE_ANY)
        for title, names in (
            ("Arch Linux", ("arch", "archarm")), ("Manjaro", ("manjaro", "manjaro-arm")), ("NixOS", ("nixos",)),
            ("openSUSE", ("opensuse-leap", "opensuse-tumbleweed", "opensuse-microos")), ("Kali Linux", ("kali",)),
            ("Rocky Linux", ("rocky",)), ("AlmaLinux", ("almalinux",)), ("CentOS", ("centos",)), ("Void", ("void",)),
            ("Gentoo", ("gentoo",)), ("Talos", ("talos",)), ("Flatcar", ("flatcar",)),
        )
    ),
)  # fmt: skip
"""What shows each was taken from its makers' sources or from listings of its images; none was at hand. The first
that claims speaks."""
