"""The step 62-access with a real Dropbear and a real sshd: whoever is reached, the way in is never closed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_folder import NodeFolder

PATH = f"{os.environ['PATH']}:/usr/sbin"
SSHD, DROPBEAR = (shutil.which(program, path=PATH) for program in ("sshd", "dropbear"))
pytestmark = pytest.mark.skipif(not SSHD or not DROPBEAR, reason="sshd or dropbear is not installed")

SYSTEMCTL = """\
# Units are files in $UNITS: NAME.enabled, and NAME.pid while one runs.
action=$1
shift
now=no
units=
for word in "$@"; do
    case $word in
    --now) now=yes ;;
    -*) ;;
    *) units="$units $word" ;;
    esac
done
alive() { [ -f "$UNITS/$1.pid" ] && kill -0 "$(cat "$UNITS/$1.pid")" 2>/dev/null; }
start() {
    alive "$1" && return
    port=$(sed -n "s/^$2='\\(.*\\)'/\\1/p" "$ROOT/etc/imagesmith/access.conf")
    case $1 in
    ssh.service) setsid SSHD -D -p "$port" -f "$UNITS/sshd_config" >/dev/null 2>&1 </dev/null & ;;
    imagesmith-dropbear.service)
        [ ! -e "$UNITS/broken" ] || return 1
        setsid DROPBEAR -F -E -s -w -p "$port" -P "$UNITS/own.pid" -r "$ROOT/etc/imagesmith/dropbear/ed25519" \\
            -r "$ROOT/etc/imagesmith/dropbear/ecdsa" >/dev/null 2>&1 </dev/null & ;;
    *) return 5 ;;
    esac
    echo $! >"$UNITS/$1.pid"
}
stop() {
    if alive "$1"; then kill "$(cat "$UNITS/$1.pid")"; fi
    while alive "$1"; do sleep 0.05; done
    rm -f "$UNITS/$1.pid"
}
for unit in $units; do
    case $unit in
    ssh.service) key=SSH_PORT ;;
    *) key=DROPBEAR_PORT ;;
    esac
    [ -n "$(sed -n "s/^DROPBEAR_PORT='\\(..*\\)'/\\1/p" "$ROOT/etc/imagesmith/access.conf")" ] || key=SSH_PORT
    case $action in
    is-enabled) [ -e "$UNITS/$unit.enabled" ] || exit 1 ;;
    is-active) alive "$unit" || exit 3 ;;
    enable)
        : >"$UNITS/$unit.enabled"
        [ "$now" = no ] || start "$unit" $key
        ;;
    disable)
        rm -f "$UNITS/$unit.enabled"
        [ "$now" = no ] || stop "$unit"
        ;;
    start) start "$unit" $key ;;
    stop) stop "$unit" ;;
    restart)
        stop "$unit"
        start "$unit" $key
        ;;
    esac
done
"""


class Node:
    """A node's folder in which OpenSSH runs and is enabled, as an image has it."""

    def __init__(self, folder: NodeFolder, units: Path) -> None:
        self.folder, self.units = folder, units
        self.ports = [_free() for _ in range(3)]

    def wants(self, server: str, port: int = 0, dropbear_port: int = 0) -> None:
        port = port or self.ports[0]
        dropbear = {"openssh": "", "dropbear": port, "both": dropbear_port or self.ports[1]}[server]
        self.folder.write(
            "etc/imagesmith/access.conf",
            f"SSH_SERVER='{server}'\nSSH_PORT='{port}'\nDROPBEAR_PORT='{dropbear}'\n"
            f"TRIAL_PORT='{self.ports[2]}'\nANSWER_WAIT_S='5'\n",
        )

    def run(self) -> subprocess.CompletedProcess[str]:
        return self.folder.run("steps/62-access")

    def systemctl(self, *words: str) -> None:
        subprocess.run([self.folder.bin / "systemctl", *words], env=self.folder.environment, check=True, timeout=30)

    def enabled(self) -> set[str]:
        return {path.name.removesuffix(".enabled") for path in self.units.glob("*.enabled")}

    def who(self, port: int) -> str:
        """OpenSSH or dropbear, as it says itself; empty where nobody answers for some seconds."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", port), 2) as found:
                    return "dropbear" if b"dropbear" in found.recv(100) else "OpenSSH"
            except OSError:
                time.sleep(0.05)
        return ""


@pytest.fixture
def running(node: NodeFolder, tmp_path: Path) -> Iterator[Node]:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    units = tmp_path / "units"
    units.mkdir()
    keys = node.root / "etc/ssh"
    keys.mkdir(parents=True)
    for kind in ("ed25519", "ecdsa"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", keys / f"ssh_host_{kind}_key"], check=True)
    (units / "sshd_config").write_text(f"HostKey {keys}/ssh_host_ed25519_key\nListenAddress 127.0.0.1\nPidFile none\n")
    node.environment["UNITS"] = str(units)
    node.stand_in("systemctl", SYSTEMCTL.replace("SSHD", str(SSHD)).replace("DROPBEAR -F", f"{DROPBEAR} -F"))
    node.stand_in("sshd", "exit 0")
    made = Node(node, units)
    made.wants("openssh")
    made.systemctl("enable", "--now", "ssh.service")
    try:
        yield made
    finally:
        for unit in ("ssh.service", "imagesmith-dropbear.service"):
            made.systemctl("stop", unit)


def _free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_without_a_wish_nothing_is_done(node: NodeFolder) -> None:
    before = node.files()
    assert node.run("steps/62-access").returncode == 0
    assert (node.files(), node.calls) == (before, [])


def test_openssh_stays_as_it_is(running: Node) -> None:
    assert running.run().returncode == 0
    assert running.enabled() == {"ssh.service"}
    assert running.who(running.ports[0]) == "OpenSSH"


def test_both_answer_on_their_ports_with_one_key(running: Node) -> None:
    running.wants("both")
    done = running.run()
    assert done.returncode == 0, done.stderr
    assert running.enabled() == {"ssh.service", "imagesmith-dropbear.service"}
    assert [running.who(port) for port in running.ports[:2]] == ["OpenSSH", "dropbear"]
    shown = [
        subprocess.run(["ssh-keyscan", "-p", str(port), "-t", "ed25519", "127.0.0.1"], capture_output=True, check=True)
        for port in running.ports[:2]
    ]
    assert shown[0].stdout.split()[-1] == shown[1].stdout.split()[-1]


def test_dropbear_takes_openssh_place_on_the_same_port(running: Node) -> None:
    running.wants("dropbear")
    done = running.run()
    assert done.returncode == 0, done.stderr
    assert running.enabled() == {"imagesmith-dropbear.service"}
    assert running.who(running.ports[0]) == "dropbear"


def test_openssh_is_not_stopped_before_dropbear_has_answered(running: Node) -> None:
    running.wants("dropbear")
    running.folder.stand_in("dropbear", "exit 1")
    done = running.run()
    assert done.returncode != 0
    assert "when it was tried, so OpenSSH stays" in done.stderr
    assert not any("stop ssh" in call for call in running.folder.calls)
    assert (running.enabled(), running.who(running.ports[0])) == ({"ssh.service"}, "OpenSSH")


def test_openssh_is_disabled_last(running: Node) -> None:
    running.wants("dropbear")
    running.run()
    calls = running.folder.calls
    on = calls.index("systemctl enable --no-reload imagesmith-dropbear.service")
    assert on < next(n for n, call in enumerate(calls) if call.startswith("systemctl disable"))


def test_a_dropbear_that_does_not_start_after_all_gives_openssh_back(running: Node) -> None:
    running.wants("dropbear")
    (running.units / "broken").touch()
    done = running.run()
    assert done.returncode != 0
    assert "OpenSSH was started again" in done.stderr
    assert (running.enabled(), running.who(running.ports[0])) == ({"ssh.service"}, "OpenSSH")


def test_a_node_without_dropbear_keeps_openssh(running: Node) -> None:
    running.wants("dropbear")
    running.folder.environment["PATH"] = f"{running.folder.bin}:{_without_dropbear(running.folder)}"
    done = running.run()
    assert done.returncode != 0
    assert "Dropbear is not installed" in done.stderr
    assert (running.enabled(), running.who(running.ports[0])) == ({"ssh.service"}, "OpenSSH")


def _without_dropbear(folder: NodeFolder) -> Path:
    programs = folder.bin.parent / "programs"
    programs.mkdir()
    for name in ("sh", "sed", "tail", "cat", "cut", "grep", "dirname", "mkdir", "chmod", "cmp", "mv", "rm", "sync"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    return programs


@pytest.mark.parametrize("server", ["both", "dropbear"])
def test_the_second_run_stops_and_changes_nothing(running: Node, server: str) -> None:
    running.wants(server)
    assert running.run().returncode == 0
    pids = {path.name: path.read_text() for path in running.units.glob("*.pid")}
    before = running.folder.files()
    done = running.run()
    assert done.returncode == 0, done.stderr
    assert running.folder.files() == before
    assert {path.name: path.read_text() for path in running.units.glob("*.pid")} == pids


def test_the_way_back_from_dropbear_leads_to_openssh(running: Node) -> None:
    running.wants("dropbear")
    assert running.run().returncode == 0
    running.wants("openssh")
    done = running.run()
    assert done.returncode == 0, done.stderr
    assert (running.enabled(), running.who(running.ports[0])) == ({"ssh.service"}, "OpenSSH")


def test_dropbears_keys_are_for_root_alone(running: Node) -> None:
    running.wants("both")
    running.run()
    folder = running.folder.root / "etc/imagesmith/dropbear"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {"ed25519": 0o600, "ecdsa": 0o600}


def test_keys_that_were_changed_are_shown_after_the_next_run(running: Node) -> None:
    running.wants("both")
    running.run()
    key = running.folder.root / "etc/ssh/ssh_host_ed25519_key"
    key.unlink()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    assert running.run().returncode == 0
    scan = ["ssh-keyscan", "-p", str(running.ports[1]), "-t", "ed25519", "127.0.0.1"]
    shown = subprocess.run(scan, capture_output=True, text=True, check=True).stdout.split()[-1]
    assert shown == key.with_suffix(".pub").read_text().split()[1]


def test_no_key_is_told(running: Node) -> None:
    running.wants("both")
    done = running.run()
    assert "PRIVATE" not in done.stdout + done.stderr
    assert done.stdout.splitlines() == [f"SSH is both, on port {running.ports[0]} and {running.ports[1]}"]
