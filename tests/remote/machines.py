"""Machines of the tests' own, reached by a real sshd on loopback: each is a folder that sudo, systemctl and k3s act on.

sshd is OpenSSH's own, run with an own configuration and own keys, and ended afterwards; the programs are stand-ins
from `programs`, first in PATH. One machine has one address of 127.0.0.0/8, all have the same port.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagesmith.remote.way import Way

SSHD = shutil.which("sshd", path="/usr/sbin:/sbin") or ""
PROGRAMS = Path(__file__).parent / "programs"
USER = getpass.getuser()
BEFORE = "v1.36.3+k3s1"
TOKEN = f"K10{'ab' * 32}::"


@dataclass(frozen=True)
class Machine:
    folder: Path
    address: str
    port: int
    identity: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def known(self) -> tuple[str, ...]:
        return ((self.folder / "host.pub").read_text(),)

    @property
    def way(self) -> Way:
        return Way(self.name, self.address, USER, self.port, self.known, self.identity)

    @property
    def calls(self) -> list[str]:
        """What was asked of it as root, in order."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def file(self, path: str) -> Path:
        """A file of its own, by the path that it has there."""
        return self.folder / path.lstrip("/")

    def write(self, path: str, content: str) -> Path:
        target = self.file(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        return target


def keygen(path: Path, kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "test", "-f", path], check=True)
    return path


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def program_text(name: str) -> str:
    """A stand-in, run by the Python that runs the tests: what PATH finds may be slow to start."""
    return (PROGRAMS / name).read_text().replace("/usr/bin/env python3", f"{sys.executable} -S", 1)


@contextmanager
def machines(folder: Path, duties: dict[str, str]) -> Iterator[dict[str, Machine]]:
    """Machines by their names, with `server` or `agent` each, in one cluster that is well."""
    cluster = folder / "cluster"
    cluster.mkdir()
    identity = keygen(folder / "identity")
    port = free_port()
    with ExitStack() as stack:
        found = {}
        for number, (name, duty) in enumerate(duties.items(), 2):
            machine = Machine(folder / "machines" / name, f"127.0.0.{number}", port, identity)
            _furnish(machine, cluster, duty)
            stack.enter_context(running(machine, cluster))
            found[name] = machine
        yield found


@contextmanager
def running(machine: Machine, cluster: Path) -> Iterator[None]:
    """Its sshd, for the length of a block."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, and a service that does not run here makes it
    config = machine.folder / "sshd_config"
    path = f"{machine.folder}/bin:{machine.folder}/usr/local/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config.write_text(
        f"ListenAddress {machine.address}\nPort {machine.port}\nHostKey {machine.folder}/host\n"
        f"PidFile {machine.folder}/sshd.pid\n"
        f"AuthorizedKeysFile {machine.identity}.pub\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin prohibit-password\n"
        f"SetEnv PATH={path} HOME={machine.folder} MACHINE={machine.folder} CLUSTER={cluster} ROOT={machine.folder}\n"
    )
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=(machine.folder / "sshd.log").open("wb"))
    try:
        _wait_for(machine, process)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(machine: Machine, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, (machine.folder / "sshd.log").read_text()
        try:
            socket.create_connection((machine.address, machine.port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError((machine.folder / "sshd.log").read_text())


def _furnish(machine: Machine, cluster: Path, duty: str) -> None:
    (machine.folder / "bin").mkdir(parents=True)
    keygen(machine.folder / "host")
    for program, folder in (("sudo", "bin"), ("systemctl", "bin"), ("k3s", "usr/local/bin")):
        machine.write(f"{folder}/{program}", program_text(program)).chmod(0o755)
    machine.write("state", "active")
    machine.write("proc/sys/kernel/hostname", f"{machine.name}\n")
    machine.write("etc/machine-id", f"{machine.address.rpartition('.')[2]:0>32}\n")
    machine.write("etc/imagesmith/cluster.conf", f"CLUSTER_NAME='rack'\nCLUSTER_DUTY='{duty}'\n")
    machine.write("var/lib/imagesmith/status", "state=done\nleft=0\n")
    machine.write("var/lib/imagesmith/cluster/status", "waits_for=nothing\nstate=ready\n")
    own = "agent-token" if duty != "agent" else "token"
    lines = [f'{own}: "{TOKEN}node:{"1" * 32}"', "node-name: here"]
    if duty != "agent":
        machine.write("var/lib/rancher/k3s/server/db/state.db", "data")
        machine.write("var/lib/rancher/k3s/server/token", f"{TOKEN}server:{'2' * 32}\n")
        lines.append(f'token: "{TOKEN}server:{"2" * 32}"')
        (cluster / f"{machine.name}.etcd").write_text("")
    machine.write("etc/rancher/k3s/config.yaml", "\n".join(lines) + "\n")
    (cluster / f"{machine.name}.version").write_text(BEFORE)
