"""The ways into a node: OpenSSH and its port, Dropbear beside it or in its place. Called by `cluster.contents`.

That OpenSSH takes keys alone is so in every image (`families.sshd`). Dropbear's host keys are OpenSSH's own: the first
boot's step 62-access converts them, and turns OpenSSH off only once Dropbear has answered with them.
"""

from __future__ import annotations

from imagesmith.families import sshd
from imagesmith.formats.assignments import assignments
from imagesmith.model import Edit, Materials, Part, Profile, Promise, PutFile, SshAccess

CONF = "/etc/imagesmith/access.conf"
"""What the step 62-access and Dropbear's unit read."""
PORT_DROP_IN = f"{sshd.FOLDER}/11-imagesmith-port.conf"
SOCKET_DROP_IN = "/etc/systemd/system/ssh.socket.d/10-imagesmith.conf"
DROPBEAR_UNIT = "imagesmith-dropbear.service"
USUAL_PORT = 22

_OPENSSH_UNITS = frozenset({"unit.ssh.service", "unit.ssh.socket"})


def ports(ssh: SshAccess) -> tuple[int, ...]:
    """Where a node takes log-ins, the usual one first."""
    return (ssh.port, ssh.dropbear_port) if ssh.server == "both" else (ssh.port,)


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    ssh = part.cluster.ssh
    return (
        PutFile("root", CONF, assignments(_settings(ssh))),
        *(_openssh_port(ssh.port) if ssh.port != USUAL_PORT else ()),
        *(_dropbear(materials) if ssh.server != "openssh" else ()),
    )


def promises(part: Part) -> tuple[Promise, ...]:
    if part.cluster.ssh.server == "openssh":
        return ()
    return (Promise(f"unit.{DROPBEAR_UNIT}", "equals", "active", "the node is reached by SSH, by Dropbear"),)


def withdrawn(part: Part) -> frozenset[str]:
    """Where Dropbear is alone, OpenSSH is off."""
    return _OPENSSH_UNITS if part.cluster.ssh.server == "dropbear" else frozenset()


def packages(part: Part) -> tuple[str, ...]:
    """Dropbear's program alone: the package `dropbear` brings a unit and host keys of its own."""
    return () if part.cluster.ssh.server == "openssh" else ("dropbear-bin",)


def _settings(ssh: SshAccess) -> dict[str, str]:
    dropbear = {"openssh": "", "dropbear": str(ssh.port), "both": str(ssh.dropbear_port)}[ssh.server]
    return {"SSH_SERVER": ssh.server, "SSH_PORT": str(ssh.port), "DROPBEAR_PORT": dropbear}


def _openssh_port(port: int) -> tuple[Edit, ...]:
    """For sshd, and for systemd where that waits for the first who knocks: the socket does not read sshd's settings.

    Both addresses by name, as Ubuntu's own socket has them: with its `BindIPv6Only=ipv6-only` a bare port would be
    IPv6's alone. Ubuntu's generator, where there is one, writes the same from sshd's `Port`.
    """
    socket = f"[Socket]\nListenStream=\nListenStream=0.0.0.0:{port}\nListenStream=[::]:{port}\nBindIPv6Only=ipv6-only\n"
    return (
        PutFile("root", PORT_DROP_IN, f"Port {port}\n".encode()),
        PutFile("root", SOCKET_DROP_IN, socket.encode()),
    )


def _dropbear(materials: Materials) -> tuple[Edit, ...]:
    """Not enabled here: it could not start before it is installed and has its keys."""
    unit = materials.files[f"firstboot/cluster/{DROPBEAR_UNIT}"]
    return (PutFile("root", f"/etc/systemd/system/{DROPBEAR_UNIT}", unit),)
