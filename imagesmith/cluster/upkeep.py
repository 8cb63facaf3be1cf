"""Updates that come by night, restarts one node after the other, mirrors and a proxy. Called by `cluster.contents`.

What apt reads is written here; what needs the node itself (its timers, its lists of sources) is done by the first
boot's step 68-upkeep, as /etc/imagesmith/upkeep.conf and mirrors.conf say.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from imagesmith.cluster import neighbours
from imagesmith.families.payload_files import LIBRARY
from imagesmith.formats.assignments import assignments
from imagesmith.model import Edit, Materials, Part, Profile, Promise, PutFile

CONF = "/etc/imagesmith/upkeep.conf"
MIRRORS_CONF = "/etc/imagesmith/mirrors.conf"
APT_UPDATES = "/etc/apt/apt.conf.d/52imagesmith-updates"
"""After 50unattended-upgrades, whose lists it clears."""
APT_PROXY = "/etc/apt/apt.conf.d/51imagesmith-proxy"
UNITS = "/etc/systemd/system"
REBOOT_TIMER = "imagesmith-reboot.timer"
REBOOT_UNIT = "imagesmith-reboot.service"

SECURITY: tuple[str, ...] = (
    "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    "origin=Ubuntu,archive=${distro_codename}-security,label=Ubuntu",
    "origin=Raspbian,codename=${distro_codename},label=Raspbian",
    "origin=Raspberry Pi Foundation,codename=${distro_codename},label=Raspberry Pi Foundation",
)
"""What unattended-upgrades may install, as archives call themselves. The last two keep security updates, a Pi's kernel
among them, with all others; a line about an archive that a node does not use does nothing."""

ARCHIVES: Mapping[str, str] = {
    "debian": r"https?://(deb|ftp|ftp\.[a-z]+|cdn-fastly\.deb)\.debian\.org/debian/?",
    "ubuntu": r"https?://(([a-z]+\.)?archive|security|ports)\.ubuntu\.com/ubuntu(-ports)?/?",
    "raspberrypi": r"https?://archive\.raspberrypi\.(com|org)/debian/?",
    "armbian": r"https?://([a-z]+\.)?apt\.armbian\.com/?",
}
"""Where the publishers' own sources say that packages are, as extended regular expressions, by the inventory's word for
it. Debian's security archive is none of them: few mirrors have it."""

FIRST_TURN_MIN = 2 * 60
"""Minutes after midnight; updates are over by then."""
TURN_MIN = 15
_DAY_MIN = 24 * 60


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    upkeep = part.cluster.upkeep
    made: list[Edit] = [PutFile("root", CONF, assignments({"UPDATES": upkeep.updates}))]
    if upkeep.mirrors:
        lines = "".join(f"{ARCHIVES[name]} {mirror}\n" for name, mirror in sorted(upkeep.mirrors.items()))
        made.append(PutFile("root", MIRRORS_CONF, lines.encode()))
    if upkeep.proxy:
        made.append(PutFile("root", APT_PROXY, _apt_proxy(part).encode()))
    if upkeep.updates == "off":
        return (*made, PutFile("root", APT_UPDATES, _NO_UPDATES.encode()))
    return (*made, PutFile("root", APT_UPDATES, _apt_updates().encode()), *_by_night(part, materials))


def promises(part: Part) -> tuple[Promise, ...]:
    return ()


def packages(part: Part) -> tuple[str, ...]:
    return ("unattended-upgrades",) if part.cluster.upkeep.updates == "security" else ()


def turn(part: Part) -> str:
    """When the node may restart, as systemd.time(7) writes it: each in its turn, in the inventory's order.

    All by one clock, that of the first node, so that no two turns meet; the 97th node would have the first one's.
    """
    names = [node.name for node in part.cluster.nodes]
    minutes = (FIRST_TURN_MIN + TURN_MIN * names.index(part.node.name)) % _DAY_MIN
    zone = part.cluster.nodes[0].settings.timezone
    return f"*-*-* {minutes // 60:02}:{minutes % 60:02}:00 {zone}"


def _by_night(part: Part, materials: Materials) -> tuple[Edit, ...]:
    zone = part.cluster.nodes[0].settings.timezone
    nights = {"apt-daily": f"*-*-* 00:00:00 {zone}", "apt-daily-upgrade": f"*-*-* 01:00:00 {zone}"}
    return (
        *(
            PutFile("root", f"{UNITS}/{name}.timer.d/50-imagesmith.conf", _NIGHT.format(when=when).encode())
            for name, when in nights.items()
        ),
        PutFile("root", f"{LIBRARY}/reboot-turn", materials.files["firstboot/cluster/reboot-turn"], 0o755),
        PutFile("root", f"{UNITS}/{REBOOT_UNIT}", materials.files[f"firstboot/cluster/{REBOOT_UNIT}"]),
        PutFile("root", f"{UNITS}/{REBOOT_TIMER}", _TURN.format(when=turn(part)).encode()),
    )


def _apt_updates() -> str:
    return _UPDATES.format(origins="\n".join(f'  "{pattern}";' for pattern in SECURITY))


def _apt_proxy(part: Part) -> str:
    upkeep = part.cluster.upkeep
    hosts = {urlsplit(mirror).hostname or "" for mirror in upkeep.mirrors.values()}
    past = sorted(host for host in hosts if _is_near(host, part))
    lines = [f'Acquire::{scheme}::Proxy "{upkeep.proxy}";' for scheme in ("http", "https")]
    lines += [f'Acquire::{scheme}::Proxy::{host} "DIRECT";' for host in past for scheme in ("http", "https")]
    return "\n".join(lines) + "\n"


def _is_near(host: str, part: Part) -> bool:
    """Whether a host is on the cluster's own networks, where no proxy is asked."""
    domain = part.cluster.domain
    if any(host == node.name for node in part.cluster.nodes) or (domain and host.endswith(f".{domain}")):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in neighbours.nodes(part))


_NO_UPDATES = """\
// Nothing is fetched or installed by itself.
APT::Periodic::Enable "0";
"""
_UPDATES = """\
// Security updates alone, by themselves. Restarts are imagesmith-reboot.timer's: one node at a time.
APT::Periodic::Enable "1";
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
APT::Periodic::AutocleanInterval "7";
#clear Unattended-Upgrade::Allowed-Origins;
#clear Unattended-Upgrade::Origins-Pattern;
Unattended-Upgrade::Origins-Pattern {{
{origins}
}};
Unattended-Upgrade::Automatic-Reboot "false";
"""
_NIGHT = """\
[Timer]
OnCalendar=
OnCalendar={when}
RandomizedDelaySec=30min
"""
_TURN = """\
# This node's turn of the night to restart, should an update ask for it.
[Unit]
Description=This node's turn to restart after an update

[Timer]
OnCalendar={when}
AccuracySec=1min

[Install]
WantedBy=timers.target
"""
