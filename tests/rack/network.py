"""A network of the tests' own: a namespace that nobody else is in, with a switch for guests and an address for us.

Used by `rack.running`. Needs no root where the kernel lets users make namespaces of their own. Nothing of it has a name
on the machine: when the relay's process ends, however it does, the kernel takes namespace and device away.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

GATEWAY = "10.77.0.254"
_RELAY = Path(__file__).with_name("relay.py")
_READY_S = 20.0


class NoNetwork(Exception):
    """This machine lets us make no network: what it said, and what would help."""


class Lan:
    """A running network, as a context manager. Guests plug in at `socket`; `within` makes a command that is in it.

    `tells_time`: whether our address answers who asks for the time.
    """

    def __init__(self, address: str = f"{GATEWAY}/24", *, tells_time: bool = True) -> None:
        self._words = [address, *(["time"] if tells_time else [])]
        self._rootless = os.geteuid() != 0

    def __enter__(self) -> Self:
        # Paths of sockets are short by nature (108 bytes), those of tests' folders are not.
        self._folder = Path(tempfile.mkdtemp(prefix="imagesmith-lan-", dir="/tmp"))
        self.socket = self._folder / "switch"
        unshare = ["unshare", "--net", *(["--map-root-user"] if self._rootless else []), "--"]
        self._relay = subprocess.Popen(
            [*unshare, sys.executable, "-I", str(_RELAY), str(self.socket), *self._words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        if not self._answered():
            self.__exit__(None, None, None)
            raise NoNetwork(
                f"no network namespace with a TAP device could be made: {self.complaint or 'no answer'}\n"
                "It needs root, or a kernel that lets users make namespaces (kernel.unprivileged_userns_clone=1, "
                "kernel.apparmor_restrict_unprivileged_userns=0), and /dev/net/tun."
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.complaint = self._relay.communicate(timeout=5)[1].decode("utf-8", "replace").strip()
        except subprocess.TimeoutExpired:
            self._relay.kill()
            self.complaint = self._relay.communicate()[1].decode("utf-8", "replace").strip()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Of the process that holds the namespace."""
        return self._relay.pid

    def within(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` with this network as its only one."""
        user = ["--user", "--preserve-credentials"] if self._rootless else []
        return ["nsenter", "--target", str(self.pid), *user, "--net", "--", *argv]

    def _answered(self) -> bool:
        assert self._relay.stdout is not None
        ready = select.select([self._relay.stdout], [], [], _READY_S)[0]
        return bool(ready) and self._relay.stdout.readline() == b"ready\n"
