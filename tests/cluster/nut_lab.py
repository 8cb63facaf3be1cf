"""Nodes with the real NUT, each in a network namespace with an /etc/nut and a /run of its own, on files made for it.

The UPS is NUT's dummy-ups, told what to say by a file; the driver's program is the tests' own: it hands on to NUT's,
and writes down when it is to switch the UPS off. Nodes don't go down: `systemctl poweroff` is written down too.
Periods of seconds are made shorter, which is all that is changed in the files, with the paths of programs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from imagesmith import resources

NUT = Path("/lib/nut")
_DRIVER = """\
#!/bin/sh
case " $* " in *" -k "*) echo "$(cut -d. -f1 /proc/uptime) off" >>"$(dirname "$0")/ups-was-switched-off"; exit 0 ;; esac
exec /lib/nut/dummy-ups "$@"
"""
_ENTER = 'mount --bind "$1/etc/nut" /etc/nut && mount --bind "$1/run" /run && shift && exec "$@"'
_SHORTER = ((r"POLLFREQ\w* \d+", lambda m: f"{m[0].split()[0]} 1"), (r"DEADTIME \d+", lambda m: "DEADTIME 4"))


class LabNode:
    """One of them. `folder` holds its root; what it was told to do lies in `folder`/offs."""

    def __init__(self, name: str, folder: Path, files: dict[str, str]) -> None:
        self.name, self.folder, self._running = name, folder, list[subprocess.Popen[bytes]]()
        for sub in ("etc/nut", "etc/imagesmith", "run/nut", "bin", "var/lib/imagesmith"):
            (folder / sub).mkdir(parents=True)
        for path, text in files.items():
            if path.startswith(("/etc/nut/", "/etc/imagesmith/")):
                self._write(path, text)
        self._own_programs()
        # As the first boot's step 72-power and the package leave them.
        for path in [*(folder / "etc/nut").iterdir(), folder / "run/nut"]:
            shutil.chown(path, "root", "nut")
            path.chmod(0o770 if path.is_dir() else 0o640)

    def start(self) -> None:
        if (self.folder / "etc/nut/ups.conf").exists():
            self.ask("/sbin/upsdrvctl", "start")
            self._spawn("upsd", "/lib/nut/upsd", "-F")
            wait_until(lambda: "ups.status" in self.asked("upsc", "ups@localhost"), 10)
        self._spawn("upsmon", "/lib/nut/upsmon", "-F")
        self._spawn("watch", str(self.folder / "lib/ups-watch"))

    def say(self, status: str, charge: int = 100) -> None:
        """What its UPS tells from now on."""
        path = self.folder / "etc/nut/state.dev"
        whole = path.with_suffix(".new")
        whole.write_text(f"ups.status: {status}\nbattery.charge: {charge}\n")
        whole.chmod(0o644)
        whole.replace(path)

    def unplug(self) -> None:
        """The driver loses its UPS."""
        self.ask("/sbin/upsdrvctl", "stop")

    def freeze(self) -> None:
        """It hangs, with its connections open."""
        for one in self._running:
            os.killpg(one.pid, signal.SIGSTOP)

    def stop(self) -> None:
        """Everything of it ends, as by a cut."""
        for one in self._running:
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()
        self._running = []
        for path in (self.folder / "run/nut").glob("*.pid"):
            if path.name.startswith("dummy"):
                os.kill(int(path.read_text()), signal.SIGKILL)
            # A container's first process may leave the dead unburied, and NUT takes them for alive.
            path.unlink()

    @property
    def went(self) -> bool:
        """Whether it was told to go down."""
        return (self.folder / "offs").exists()

    @property
    def ups_was_switched_off(self) -> bool:
        return (self.folder / "bin/ups-was-switched-off").exists()

    def log(self, program: str) -> str:
        return (self.folder / f"{program}.log").read_text()

    def asked(self, *argv: str) -> str:
        return subprocess.run(self._inside(argv), capture_output=True, text=True, timeout=30, check=False).stdout

    def ask(self, *argv: str) -> int:
        return subprocess.run(self._inside(argv), capture_output=True, timeout=60, check=False).returncode

    def _inside(self, argv: Sequence[str]) -> list[str]:
        words = ["ip", "netns", "exec", self.name, "unshare", "--mount", "sh", "-c", _ENTER, "sh", str(self.folder)]
        variables = [f"ROOT={self.folder}", f"IMAGESMITH_LIB={self.folder}/lib", f"PATH={self.folder}/bin:/usr/sbin:"
                     "/usr/bin:/sbin:/bin"]  # fmt: skip
        return [*words, "env", *variables, *argv]

    def _spawn(self, name: str, *argv: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running.append(
                subprocess.Popen(self._inside(argv), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                 start_new_session=True)
            )  # fmt: skip

    def _write(self, path: str, text: str) -> None:
        text = text.replace("/usr/lib/imagesmith/ups-off", str(self.folder / "lib/ups-off"))
        text = text.replace("/run/imagesmith-ups-off", "/run/killpower")
        text = text.replace("POLL_S='5'", "POLL_S='1'").replace("SILENT_S='45'", "SILENT_S='6'")
        for pattern, shorter in _SHORTER:
            text = re.sub(pattern, shorter, text)
        if path.endswith("/ups.conf"):
            text = f"driverpath = {self.folder}/bin\n{text}"
        (self.folder / path.lstrip("/")).write_text(text)

    def _own_programs(self) -> None:
        library = self.folder / "lib"
        shutil.copytree(resources.folder("firstboot") / "power", library)
        shutil.copy(resources.folder("firstboot") / "lib.sh", library)
        for name, text in (("dummy-ups", _DRIVER), ("systemctl", f'#!/bin/sh\necho "$*" >>{self.folder}/offs\n')):
            (self.folder / "bin" / name).write_text(text)
            (self.folder / "bin" / name).chmod(0o755)


def wait_until(is_so: Callable[[], bool], within_s: float) -> None:
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end, f"not so within {within_s} s"
        time.sleep(0.2)


@contextmanager
def lab(files: dict[str, dict[str, str]], addresses: dict[str, str]) -> Iterator[dict[str, LabNode]]:
    """Nodes on one wire, by name, none of them started. All of it is gone at the end."""
    folder = Path(mkdtemp(prefix="nut-lab-"))
    folder.chmod(0o755)
    names = {node: f"nut-{os.getpid()}-{number}" for number, node in enumerate(files)}
    bridge = f"nut-{os.getpid()}-b"
    nodes: dict[str, LabNode] = {}
    try:
        _ip("netns", "add", bridge)
        _ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        _ip("-n", bridge, "link", "set", "br0", "up")
        for number, (node, space) in enumerate(names.items()):
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{number}", "netns", bridge)
            _ip("-n", bridge, "link", "set", f"port{number}", "master", "br0", "up")
            _ip("-n", space, "address", "add", f"{addresses[node]}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            nodes[node] = LabNode(space, folder / node, files[node])
        yield nodes
    finally:
        for one in nodes.values():
            one.stop()
        for space in (*names.values(), bridge):
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)
        shutil.rmtree(folder)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (words, done.stderr)
