"""A rack of guests: an inventory's images in machines on one network, looked at from the host as its owner would.

Used by the lanes and `rack.demo`.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml
from rack.desk import CommandFailed, Desk
from rack.guests import Machine
from rack.kubectl import Kubectl, is_ready
from rack.network import Lan

STATUS = "/var/lib/imagesmith/cluster/status"


class TookTooLong(AssertionError):
    """What was waited for did not come: what it was, what was seen last, and every console's end."""


class Rack:
    """Machines by the names of their nodes, on a network; a context manager that switches all of them off."""

    def __init__(self, desk: Desk, lan: Lan, folder: Path) -> None:
        self.desk, self.lan, self._folder = desk, lan, folder
        self.kubectl = Kubectl(lan, desk.kubeconfig)
        inventory = yaml.safe_load((desk.folder / "cluster.yaml").read_text())
        self.addresses = {node["name"]: node["address"].split("/")[0] for node in inventory["nodes"]}
        self.user: str = inventory["defaults"].get("user", "admin")
        self.machines: dict[str, Machine] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as stack:
            for machine in self.machines.values():
                stack.callback(machine.switch_off)

    def insert(self, node: str, *, desk: Desk | None = None, called: str = "") -> Machine:
        """A machine with a fresh card of `node`, off. `desk`: whose image it is, where not ours; `called`: its name."""
        name = called or node
        before = [path for path in self._folder.glob(f"{name}.*") if path.is_dir()]
        image, memory = (desk or self.desk).image(node), self.desk.k3s.memory if self.desk.k3s else 0
        machine = Machine(name, image, self.lan.socket, self._folder / f"{name}.{len(before) + 1}", memory)
        if name in self.machines:
            self.machines[name].switch_off()
        self.machines[name] = machine
        return machine

    def ssh(
        self, node: str, *command: str, port: int = 22, within_s: int = 60, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the node's user; strictly by the known_hosts made beforehand, asking nothing.

        `given` is its standard input.
        """
        options = ("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.desk.known_hosts}",
                   "GlobalKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "ConnectTimeout=20",
                   "ServerAliveInterval=5", "LogLevel=ERROR")  # fmt: skip
        argv = ["ssh", "-F", "/dev/null", "-i", str(self.desk.key), "-p", str(port)]
        argv += [word for option in options for word in ("-o", option)]
        argv += [f"{self.user}@{self.addresses[node]}", shlex.join(command)]
        try:
            return subprocess.run(
                self.lan.within(argv), input=given, capture_output=True, text=True, check=False, timeout=within_s
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 255, "", f"no answer within {within_s} s")

    def asked(self, node: str, *command: str, within_s: int = 60, given: str = "") -> str:
        """What a command says that must go well, as root."""
        done = self.ssh(node, "sudo", "-n", *command, within_s=within_s, given=given)
        assert done.returncode == 0, f"{node}: {shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def imagesmith(self, *words: str) -> str:
        """`imagesmith WORDS...` at the desk, in the rack's network. Raises CommandFailed."""
        return self.desk.imagesmith(*words, within=self.lan.within)

    def wait_for_word(self, words: str, *command: str, within_s: float = 600) -> None:
        """Until `imagesmith COMMAND...` says `words`, as its answer or as what is wrong.

        A guest on a busy machine may not answer within the minute that imagesmith gives it, so it is asked again.
        """

        def look() -> str:
            told, _ = self._answer(*command)
            return "" if words in told else told

        self.wait_until(f"{words!r} of imagesmith {' '.join(command)}", within_s, look)

    def wait_until_well(self, within_s: float) -> str:
        """Until `imagesmith status` finds nothing wrong; its table."""
        answers: list[str] = []

        def look() -> str:
            told, wrong = self._answer("status")
            answers.append(told)
            return told if wrong else ""

        self.wait_until("a status without a complaint", within_s, look)
        return answers[-1]

    def _answer(self, *command: str) -> tuple[str, bool]:
        """What `imagesmith COMMAND...` says of nodes, and whether anything is wrong with them."""
        try:
            return self.imagesmith(*command, "--identity", str(self.desk.key)), False
        except CommandFailed as error:
            return str(error), True

    def greeting(self, node: str, port: int) -> str:
        """The first line that a port says, as SSH-2.0-OpenSSH_10.0."""
        script = f"import socket; print(socket.create_connection(({self.addresses[node]!r}, {port}), 20).recv(255))"
        argv = self.lan.within([sys.executable, "-c", script])
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=40).stdout.lower()

    def status(self, node: str) -> dict[str, str]:
        """What the node's status file says of its way into the cluster; empty while it can't be read."""
        done = self.ssh(node, "sudo", "-n", "cat", STATUS)
        pairs = (line.partition("=") for line in done.stdout.splitlines() if "=" in line)
        return {key: value.strip("'") for key, _, value in pairs}

    def wait_for_ssh(self, node: str, within_s: float, port: int = 22) -> None:
        """Until the node lets us in."""
        self.wait_until(f"ssh to {node}", within_s, lambda: self._let_in(node, port))

    def wait_for_status(self, node: str, wanted: Callable[[dict[str, str]], bool], within_s: float) -> dict[str, str]:
        """Until the node's status file says what is wanted; what it said then."""
        said: dict[str, str] = {}

        def look() -> str:
            said.clear()
            said.update(self.status(node))
            return "" if said and wanted(said) else f"{node} says {said}"

        self.wait_until(f"the status of {node}", within_s, look)
        return said

    def wait_until_ready(self, nodes: Sequence[str], within_s: float) -> None:
        """Until the host's kubectl shows exactly these nodes, all of them Ready."""

        def look() -> str:
            seen = self.kubectl.ready()
            return "" if seen == dict.fromkeys(nodes, True) else f"kubectl sees {seen or 'nobody'}"

        self.wait_until(f"{', '.join(nodes)} to be Ready", within_s, look)

    def wait_until_back(self, nodes: Sequence[str], within_s: float) -> None:
        """Until Kubernetes shows these nodes Ready as of the start that each is in now, not of one before."""

        def missing(node: str) -> str:
            shown = self.kubectl.nodes().get(node)
            if not shown or not is_ready(shown):
                return f"{node} is not Ready"
            boot = self.ssh(node, "cat", "/proc/sys/kernel/random/boot_id").stdout.strip()
            told = shown["status"]["nodeInfo"]["bootID"]
            return "" if boot == told else f"{node} is in its start {boot or '?'}, kubectl tells of {told}"

        for node in nodes:
            self.wait_until(f"{node} to be back", within_s, lambda node=node: missing(node))

    def wait_until(self, what: str, within_s: float, look: Callable[[], str], every_s: float = 3.0) -> None:
        """Until `look` finds nothing missing any more. Raises TookTooLong; at once when a guest died."""
        until = time.monotonic() + within_s
        while missing := look():
            died = [one.name for one in self.machines.values() if one.died]
            if died or time.monotonic() > until:
                why = f"{', '.join(died)} died meanwhile" if died else f"not within {within_s:.0f} s"
                ends = "\n".join(f"{one.name} ({one.log}):\n{one.tail()}" for one in self._running())
                raise TookTooLong(f"{what}: {why}; {missing}\n{ends}")
            time.sleep(every_s)

    def _running(self) -> list[Machine]:
        return [one for one in self.machines.values() if one.starts]

    def _let_in(self, node: str, port: int) -> str:
        done = self.ssh(node, "true", port=port)
        return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
