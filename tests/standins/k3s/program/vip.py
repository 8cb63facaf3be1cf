"""kube-vip, played: where a manifest asks for it, the first living server holds the control plane's address."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

from . import yamlish
from .peers import Peers
from .words import Fatal, say

_REMIND_S = 10


def wanted(manifests: Path) -> tuple[str, str] | None:
    """Address and interface of a kube-vip DaemonSet among the server's manifests."""
    for path in sorted(manifests.glob("*.y*ml")):
        if Path(f"{path}.skip").exists():
            continue
        for document in yamlish.documents(path.read_text(), str(path)):
            if isinstance(document, dict) and document.get("kind") == "DaemonSet":
                found = _environment(document)
                if "kube-vip" in str(document.get("metadata")) and found.get("address"):
                    return found["address"], found.get("vip_interface", "") or default_interface()
    return None


def _environment(document: dict[str, Any]) -> dict[str, str]:
    containers = document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    return {one["name"]: str(one.get("value", "")) for box in containers for one in box.get("env", []) if "name" in one}


def default_interface() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/route").read_text().splitlines()[1:]:
            words = line.split()
            if words[1] == "00000000":
                return words[0]
    raise Fatal("kube-vip: no interface given and no default route to take it from")


class Holder:
    """Holds the address or does not, looked at every second."""

    def __init__(self, address: str, interface: str, peers: Peers) -> None:
        self.address = address
        self.interface = interface
        self.peers = peers
        self.holds = False

    def run(self, stop: threading.Event) -> None:
        self._ip("del", quiet=True)  # what a power cut or a kill may have left
        turns = 0
        while not stop.wait(1):
            due = self._is_due()
            if due and not self.holds and self._ip("add"):
                self.holds, turns = True, 0
                say(f"kube-vip: {self.address} is held here, on {self.interface}")
            elif self.holds and not due:
                self.release()
            if self.holds and turns % _REMIND_S < 2:
                announce(self.address, self.interface)
            turns += 1

    def release(self) -> None:
        if self.holds:
            self._ip("del")
            self.holds = False
            say(f"kube-vip: {self.address} is released")

    def _is_due(self) -> bool:
        alive = self.peers.alive()
        return self.peers.has_quorum() and (not alive or alive[0] == self.peers.name)

    def _ip(self, verb: str, quiet: bool = False) -> bool:
        length = "128" if ":" in self.address else "32"
        argv = ["ip", "address", verb, f"{self.address}/{length}", "dev", self.interface]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode and not quiet and "exists" not in done.stderr:
            say(f"kube-vip: {' '.join(argv)}: {done.stderr.strip()}", "error")
            return False
        return True


def announce(address: str, interface: str) -> None:
    """Gratuitous ARP: everybody shall forget where the address was before."""
    if ":" in address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as door:
        door.bind((interface, 0))
        own, ip, everyone = door.getsockname()[4], socket.inet_aton(address), b"\xff" * 6
        if len(own) == 6:
            head = everyone + own + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04"
            door.send((head + b"\x00\x01" + own + ip + b"\x00" * 6 + ip).ljust(60, b"\x00"))
            door.send((head + b"\x00\x02" + own + ip + everyone + ip).ljust(60, b"\x00"))
