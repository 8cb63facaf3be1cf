"""What a node's first boot reads, made from the node and its profile: cloud-init's documents and node.conf."""

from __future__ import annotations

import hashlib

from imagesmith.errors import UsageError
from imagesmith.families import family_named
from imagesmith.families.family import facts_of
from imagesmith.formats.assignments import assignments
from imagesmith.model import Base, Documents, Materials, Node, Profile, Settings

USER_GROUPS = ("adm", "dialout", "plugdev", "sudo", "systemd-journal", "users", "video")
"""What the user may do beside its own: read logs, use serial lines and devices, become root."""


def documents(node: Node, profile: Profile, materials: Materials) -> Documents:
    """The texts that make an image this node's. `node.settings` are final: the profile's overrides are in them.

    Raises UsageError for a base that the board does not have, and for values that no line can hold.
    """
    # Here, since Jinja takes long to import, and commands that render nothing come through this module too.
    from imagesmith.planning.render import render

    base = chosen_base(node, profile)
    family = family_named(base.family)
    # Most boards have one card with an address of its own, which finds it; a few take the address that they are given.
    gives_mac = facts_of(family, base).get("mac") == "set"
    # Not everywhere is there the console-setup that cloud-init restarts for it, and not everywhere is it needed.
    sets_keyboard = facts_of(family, base).get("keyboard") not in ("file", node.settings.keyboard)
    fqdn = f"{node.name}.{node.domain}" if node.domain else ""
    user_data = render(
        materials,
        "cloud-init/user-data.j2",
        {"node": node, "settings": node.settings, "fqdn": fqdn, "groups": USER_GROUPS, "sets_keyboard": sets_keyboard},
    )
    network_config = render(
        materials,
        "cloud-init/network-config.j2",
        {"network": node.network, "wired": family.wired, "gives_mac": gives_mac},
    )
    conf = assignments(_node_settings(node, profile))
    meta_data = render(
        materials,
        "cloud-init/meta-data.j2",
        {"node": node, "instance_id": _instance_id(node, user_data, network_config, conf)},
    )
    return Documents(user_data, meta_data, network_config, conf)


def chosen_base(node: Node, profile: Profile) -> Base:
    """The base that the node is built on: its own choice, else the profile's. Raises UsageError."""
    name = node.base or profile.base
    base = profile.base_named(name)
    if base is None:
        known = ", ".join(one.name for one in profile.board.bases)
        if reason := profile.board.unsuitable.get(name):
            raise UsageError(f"{name} does not work on {profile.board.name}: {reason}", hint=f"it has: {known}")
        raise UsageError(f"{profile.board.name} has no base named {name}", hint=f"it has: {known}")
    return base


def _node_settings(node: Node, profile: Profile) -> dict[str, str]:
    settings: Settings = node.settings
    return {
        "NODE_NAME": node.name,
        "NODE_ROLE": node.role or profile.role,
        "USER_NAME": settings.user,
        "USER_GROUPS": " ".join(USER_GROUPS),
        "SUDO_NOPASSWD": "yes" if settings.sudo_nopasswd else "no",
        "TIME_SERVERS": " ".join(settings.time_servers),
        "JOURNAL_MAX": str(settings.journal_max),
        "ZRAM_PERCENT": str(settings.zram_percent),
        "WATCHDOG_S": str(settings.watchdog_s),
    }


def _instance_id(node: Node, *texts: bytes) -> str:
    # cloud-init does a node's first-boot work anew when the id changes, so the id follows what that work is made of.
    digest = hashlib.sha256(b"\0".join(texts)).hexdigest()
    return f"{node.name}-{digest[:12]}"
