"""What cloud-init would set up, as the files themselves: for images that have none.

Called by the families `armbian` and `raspios-legacy`, and by `stock` for the keyboard. The user is made by the first
boot's step 15-account.
"""

from __future__ import annotations

import shlex

from imagesmith.families.payload_files import locale_source
from imagesmith.model import Edit, EnsureLine, Link, Node, PutFile


def names(node: Node) -> tuple[Edit, ...]:
    """Host name, locale, time zone and keyboard, as the files that systemd and Debian read."""
    settings = node.settings
    locale = shlex.quote(settings.locale)
    known_as = f"{node.name}.{node.domain} {node.name}" if node.domain else node.name
    return (
        PutFile("root", "/etc/hostname", f"{node.name}\n".encode()),
        EnsureLine("root", "/etc/hosts", f"127.0.1.1 {known_as}"),
        *locale_source(settings.locale),
        PutFile("root", "/etc/default/locale", f"LANG={locale}\n".encode()),
        # Since Debian 13 every start makes the one above a link to this one.
        PutFile("root", "/etc/locale.conf", f"LANG={locale}\n".encode()),
        Link("root", "/etc/localtime", f"/usr/share/zoneinfo/{settings.timezone}"),
        PutFile("root", "/etc/timezone", f"{settings.timezone}\n".encode()),
        keyboard(settings.keyboard),
    )


def keyboard(layout: str) -> PutFile:
    """keyboard(5)."""
    return PutFile("root", "/etc/default/keyboard", f"XKBMODEL=pc105\nXKBLAYOUT={shlex.quote(layout)}\n".encode())
