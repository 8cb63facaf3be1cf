"""Hamachi on a node that the inventory names: its client, logged in and joined by a unit. Called by `contents`.

Its keys are drawn by its client at the first log-in; LogMeIn's servers know the node by them. The network's password
is a file of root's alone on the node, and goes to the client by its standard input.
"""

from __future__ import annotations

from imagesmith.families.payload_files import LIBRARY
from imagesmith.formats.assignments import assignments
from imagesmith.model import Edit, Hamachi, Link, Materials, Part, Profile, Promise, PutFile
from imagesmith.secret import SecretText

CONF = "/etc/imagesmith/hamachi.conf"
PASSWORD = "/etc/imagesmith/hamachi.password"
PACKAGE = "logmein-hamachi"
UNIT = "imagesmith-hamachi.service"
_UNITS = "/etc/systemd/system"
_SCRIPT = "hamachi-join"


def network_of(part: Part) -> Hamachi | None:
    """The network that the part's node is to join."""
    found = part.cluster.vpn.hamachi if part.cluster.vpn else None
    return found if found and part.node.name in found.nodes else None


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    found = network_of(part)
    if found is None:
        return ()
    conf = {"HAMACHI_NETWORK": found.network, "HAMACHI_ACCOUNT": found.account, "HAMACHI_NICK": part.node.name}
    password = SecretText((found.password, b"\n") if found.password else (b"\n",))
    return (
        PutFile("root", CONF, assignments(conf)),
        PutFile("root", PASSWORD, password, 0o600),
        PutFile("root", f"{LIBRARY}/{_SCRIPT}", materials.files[f"firstboot/vpn/{_SCRIPT}"], 0o755),
        PutFile("root", f"{_UNITS}/{UNIT}", materials.files[f"firstboot/vpn/{UNIT}"]),
        # Not by multi-user.target, which the first boot comes after: that would be a cycle.
        Link("root", f"{_UNITS}/imagesmith-firstboot.service.wants/{UNIT}", f"{_UNITS}/{UNIT}"),
    )


def promises(part: Part) -> tuple[Promise, ...]:
    """None: without LogMeIn's servers nothing of it can be kept."""
    return ()


def packages(part: Part) -> tuple[str, ...]:
    return (PACKAGE,) if network_of(part) else ()
