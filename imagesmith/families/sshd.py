"""OpenSSH's own settings in every image: who logs in does so by key, and never as root.

Called by `payload_files` for every family. Ports are `cluster.access`'s, in a file beside this one.
"""

from __future__ import annotations

from imagesmith.model import PutFile

FOLDER = "/etc/ssh/sshd_config.d"
DROP_IN = f"{FOLDER}/10-imagesmith.conf"
HOST_KEY_KINDS = ("ed25519", "ecdsa")
"""Those that a vault keeps, and that the first boot's step 30-identity makes where there is none."""


def drop_in() -> PutFile:
    """sshd takes the first value that it reads: this file comes before cloud-init's and before sshd_config's own."""
    return PutFile(
        "root", DROP_IN, _SETTINGS.format(keys="\n".join(_host_key(kind) for kind in HOST_KEY_KINDS)).encode()
    )


def _host_key(kind: str) -> str:
    return f"HostKey /etc/ssh/ssh_host_{kind}_key"


_SETTINGS = """\
# By key, and never as root. sshd takes the first value that it reads.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
PermitRootLogin no
X11Forwarding no
# Only kinds of which known_hosts tells.
{keys}
"""
