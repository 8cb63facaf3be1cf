"""Three machines in network namespaces, with real sockets: a node, a computer on its network, a pod behind the node.

computer 192.168.7.21, and 203.0.113.5 from elsewhere --- eth0 node 192.168.7.10, cni0 --- pod 10.42.0.5
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

NEAR, FAR = "192.168.7.21", "203.0.113.5"
"""The computer's addresses: on the nodes' network, and on none that the inventory knows."""
NODE, NODE_FROM_FAR, POD = "192.168.7.10", "203.0.113.1", "10.42.0.5"

_ANSWER = """
import socket, sys, selectors
chosen = selectors.DefaultSelector()
for word in sys.argv[1:]:
    kind, port = word.split("/")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", int(port)))
    if kind == "tcp":
        listener.listen()
    chosen.register(listener, selectors.EVENT_READ, kind)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        if key.data == "tcp":
            peer, _ = key.fileobj.accept()
            peer.sendall(b"here")
            peer.close()
        else:
            _, who = key.fileobj.recvfrom(100)
            key.fileobj.sendto(b"here", who)
"""
_KNOCK = """
import json, socket, struct, sys
def ping(source, host):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinger:
        pinger.settimeout(1)
        pinger.bind((source, 0))
        # An echo request whose checksum is that of its only number that is not zero.
        pinger.sendto(struct.pack("!BBHHH", 8, 0, 0xF7FF, 0, 0), (host, 0))
        try:
            return pinger.recv(100)[20] == 0
        except OSError:
            return False
def knock(kind, source, host, port):
    if kind == "ping":
        return ping(source, host)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as knocker:
        knocker.settimeout(1)
        knocker.bind((source, 0))
        try:
            knocker.connect((host, port))
            if kind == "udp":
                knocker.send(b"anybody?")
            return knocker.recv(4) == b"here"
        except OSError:
            return False
print(json.dumps([knock(*one) for one in json.loads(sys.argv[1])]))
"""


@dataclass(frozen=True)
class Machines:
    """Names of namespaces."""

    node: str
    computer: str
    pod: str

    def run(self, machine: str, *argv: object, text: str | None = None) -> str:
        words = [str(word) for word in argv]
        done = subprocess.run(
            ["ip", "netns", "exec", machine, *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def reaches(self, machine: str, *knocks: tuple[str, str, str, int]) -> list[bool]:
        """Which of (tcp, udp or ping; own address, address, port) are answered."""
        found: list[bool] = json.loads(self.run(machine, sys.executable, "-c", _KNOCK, json.dumps(knocks)))
        return found

    @contextmanager
    def answering(self, machine: str, *ports: str) -> Iterator[None]:
        """Whoever knocks at `tcp/22`, `udp/8472` is answered, unless he is not let in."""
        argv = ["ip", "netns", "exec", machine, sys.executable, "-c", _ANSWER, *ports]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as answering:
            try:
                assert answering.stdout is not None and answering.stdout.readline() == "ready\n"
                yield
            finally:
                answering.kill()


@contextmanager
def machines() -> Iterator[Machines]:
    """Names of this process's own, gone at the end."""
    names = [f"imagesmith-{os.getpid()}-{time.monotonic_ns() % 10**6}-{role}" for role in ("node", "computer", "pod")]
    made = Machines(*names)
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _wire(made.node, "eth0", made.computer, "eth0")
        _wire(made.node, "cni0", made.pod, "eth0")
        for name, device, addresses in (
            (made.node, "eth0", (f"{NODE}/24", f"{NODE_FROM_FAR}/24")),
            (made.node, "cni0", ("10.42.0.1/24",)),
            (made.computer, "eth0", (f"{NEAR}/24", f"{FAR}/24")),
            (made.pod, "eth0", (f"{POD}/24",)),
        ):
            for address in addresses:
                _ip("-n", name, "address", "add", address, "dev", device)
        _ip("-n", made.computer, "route", "add", "10.42.0.0/16", "via", NODE)
        _ip("-n", made.pod, "route", "add", "default", "via", "10.42.0.1")
        made.run(made.node, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        yield made
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _wire(one: str, device: str, other: str, there: str) -> None:
    _ip("-n", one, "link", "add", device, "type", "veth", "peer", "name", there, "netns", other)
    _ip("-n", one, "link", "set", device, "up")
    _ip("-n", other, "link", "set", there, "up")


def _ip(*words: str) -> None:
    _run(("ip", *words))


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (argv, done.stderr)
