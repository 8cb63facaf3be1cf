"""What every module of the stand-in says and where it looks: its version, its log, its failure, its paths."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from .release import VERSION as VERSION

ROOT = os.environ.get("K3S_STANDIN_ROOT", "")
"""Goes before every path, so that several of them can run on one machine; empty on a node."""
PACE = float(os.environ.get("K3S_STANDIN_PACE", "1"))
"""Below 1 heartbeats come faster and silence is noticed sooner, for tests with little time."""


class Fatal(Exception):
    """The process has to end with exit code 1; what is said is in the words of k3s where they are known."""


class Refused(Exception):
    """A request that a server answered otherwise than with success."""

    def __init__(self, text: str, code: int = 0, body: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.body = body


def say(text: str, level: str = "info") -> None:
    sys.stderr.write("".join(f"stand-in k3s: {level}: {line}\n" for line in text.splitlines()))
    sys.stderr.flush()


def place(path: str) -> Path:
    return Path(ROOT + path) if path.startswith("/") else Path(path)


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Whole or not at all, and never readable by others for a moment; durable, since guests lose their power."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as out:
        os.fchmod(descriptor, mode)
        out.write(text)
        out.flush()
        os.fsync(descriptor)
    temporary.replace(path)


def notify(state: str) -> None:
    """sd_notify, as units of Type=notify wait for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.connect("\0" + address[1:] if address.startswith("@") else address)
        door.send(state.encode())


class Places:
    """The folders of k3s below its data directory."""

    def __init__(self, data_dir: str = "") -> None:
        self.data = place(data_dir or "/var/lib/rancher/k3s")
        self.server = self.data / "server"
        self.tls = self.server / "tls"
        self.db = self.server / "db"
        self.agent = self.data / "agent"
        self.manifests = self.server / "manifests"
