"""The gate before k3s: what it asks for, in which order, what it says, and that it waits as long as it takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.namespaces import machines
from clustered import CLUSTER_CONF, clustered, silent_port, status, told
from node_folder import NodeFolder
from tls_server import alone, authority, serving

from imagesmith.identity.tokens import ca_hash

HASH = ca_hash(authority().bundle)


@pytest.fixture
def ready(node: NodeFolder) -> NodeFolder:
    """A node with nothing amiss, the founder of a cluster."""
    return clustered(node)


@contextmanager
def running(node: NodeFolder) -> Iterator[subprocess.Popen[str]]:
    """The gate at work; what is left of it is stopped at the end."""
    process = subprocess.Popen(
        [node.library / "k3s-gate"], env=node.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def comes(what: Callable[[], bool]) -> None:
    """Waits for it, and fails where it does not come."""
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def waits(node: NodeFolder, amend: Callable[[], object] | None = None) -> dict[str, str]:
    """What the gate says it waits for; and once `amend` has made it good, that it lets k3s go."""
    with running(node) as gate:
        comes(lambda: told(node, "state") == "waiting" and told(node, "reason") != "")
        said = status(node)
        if amend:
            amend()
            assert gate.wait(20) == 0
            assert told(node, "waits_for") == "nothing"
        else:
            assert gate.poll() is None
    return said


def test_where_nothing_is_amiss_k3s_starts_at_once(ready: NodeFolder) -> None:
    assert ready.run("k3s-gate").returncode == 0
    assert (told(ready, "state"), told(ready, "waits_for"), told(ready, "reason")) == ("starting", "nothing", "")
    assert not [call for call in ready.calls if call.startswith("sleep")]


def test_what_an_earlier_start_waited_for_no_longer_counts(ready: NodeFolder) -> None:
    ready.write("var/lib/imagesmith/cluster/status", "state=joined\nwaits_for=nothing\nreason=\njoined=then\n")
    (ready.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    assert waits(ready)["waits_for"] == "cgroup"
    assert told(ready, "joined") == "then"
    assert ready.exists("run/imagesmith/gate")


# -- clock --------------------------------------------------------------------------------------------------

# A clock that can be set: it stands still, at what the file says.
CLOCK = """case "$*" in
*-s*) echo "$3" | tr -d @ >"$ROOT/clock" ;;
+%s) cat "$ROOT/clock" ;;
*) exec /bin/date "$@" ;;
esac"""


def standing(node: NodeFolder, clock: int, epoch: int = 1000) -> None:
    """The clock of a node stands at `clock`; its image was made at `epoch`."""
    os.utime(node.write("usr/lib/clock-epoch", ""), (epoch, epoch))
    node.write("clock", f"{clock}\n")
    node.stand_in("date", CLOCK)


@pytest.mark.parametrize(("made", "epoch", "least"), [("5000", 1000, "5000"), ("500", 2000, "2000")])
def test_a_clock_before_cluster_and_image_is_set_forward(ready: NodeFolder, made: str, epoch: int, least: str) -> None:
    standing(ready, 7, epoch)
    clustered(ready, CLUSTER_NOT_BEFORE=made)
    assert ready.run("k3s-gate").returncode == 0
    assert ready.read("clock") == f"{least}\n"


def test_a_clock_that_is_late_enough_is_left_alone(ready: NodeFolder) -> None:
    standing(ready, 9000)
    clustered(ready, CLUSTER_NOT_BEFORE="5000")
    assert ready.run("k3s-gate").returncode == 0
    assert ready.read("clock") == "9000\n"


def test_a_clock_that_can_not_be_set_is_waited_for(ready: NodeFolder) -> None:
    standing(ready, 7)
    ready.stand_in("date", CLOCK.replace('echo "$3" | tr -d @ >"$ROOT/clock"', "exit 1"))
    clustered(ready, CLUSTER_NOT_BEFORE="5000")
    said = waits(ready, lambda: ready.write("clock", "5000\n"))
    assert said["waits_for"] == "clock"
    assert "can't be set" in said["reason"]


def test_a_time_server_is_waited_for(ready: NodeFolder) -> None:
    ready.stand_in("timedatectl", 'cat "$ROOT/synchronized" 2>/dev/null || echo no')
    assert waits(ready, lambda: ready.write("synchronized", "yes\n"))["waits_for"] == "clock"


def test_a_rack_without_a_time_server_starts_all_the_same_and_says_so(ready: NodeFolder) -> None:
    ready.stand_in("timedatectl", "echo no")
    ready.configure(NODE_NAME="node-1", CLOCK_WAIT_S="0")
    assert ready.run("k3s-gate").returncode == 0
    assert "no time server has answered" in told(ready, "reason")


def test_a_time_server_is_waited_for_once_in_a_boot(ready: NodeFolder) -> None:
    ready.stand_in("timedatectl", "echo no")
    ready.configure(NODE_NAME="node-1", CLOCK_WAIT_S="0")
    ready.run("k3s-gate")
    ready.configure(NODE_NAME="node-1", CLOCK_WAIT_S="1000")
    assert ready.run("k3s-gate").returncode == 0


# -- memory controller, name, address, program --------------------------------------------------------------


@pytest.mark.parametrize(
    ("controllers", "words", "file", "reason"),
    [
        ("cpu io\n", "cgroup_disable=memory root=x", "boot/firmware/cmdline.txt", "the one line of /boot/firmware/cmd"),
        ("cpu io\n", "root=x", "boot/armbianEnv.txt", "extraargs= in /boot/armbianEnv.txt"),
        (None, "root=x", "etc/default/grub", "no cgroup v2"),
    ],
)
def test_the_reason_for_a_missing_memory_controller_is_exact(
    ready: NodeFolder, controllers: str | None, words: str, file: str, reason: str
) -> None:
    path = ready.root / "sys/fs/cgroup/cgroup.controllers"
    path.unlink()
    if controllers:
        path.write_text(controllers)
    ready.write("proc/cmdline", f"{words}\n")
    ready.write(file, "")
    said = waits(ready)
    assert said["waits_for"] == "cgroup"
    assert reason in said["reason"]
    assert f"/{file}" in said["reason"]


def test_a_firmwares_word_against_memory_is_named(ready: NodeFolder) -> None:
    ready.write("sys/fs/cgroup/cgroup.controllers", "cpu\n")
    ready.write("proc/cmdline", "cgroup_disable=memory\n")
    assert "by the kernel's word cgroup_disable=memory" in waits(ready)["reason"]


def test_another_host_name_is_waited_out(ready: NodeFolder) -> None:
    ready.write("proc/sys/kernel/hostname", "raspberrypi\n")
    said = waits(ready, lambda: ready.write("proc/sys/kernel/hostname", "node-1\n"))
    assert said["waits_for"] == "name"
    assert "raspberrypi" in said["reason"] and "node-1" in said["reason"]


@pytest.mark.parametrize("text", ["", "uninitialized\n", "0" * 32 + "\n"])
def test_a_machine_id_that_is_none_is_told(ready: NodeFolder, text: str) -> None:
    ready.write("etc/machine-id", text)
    said = waits(ready)
    assert said["waits_for"] == "name"
    assert "machine-id" in said["reason"]


def test_the_nodes_own_address_is_waited_for(ready: NodeFolder) -> None:
    ready.write("addresses", "2: eth0 inet 10.0.0.5/24 brd 10.0.0.255\n")
    good = "2: eth0 inet 192.168.7.10/24 brd 192.168.7.255\n"
    said = waits(ready, lambda: ready.write("addresses", good))
    assert said["waits_for"] == "address"
    assert "192.168.7.10 is not up; there is: 10.0.0.5" in said["reason"]


def test_an_address_that_is_another_machines_too_does_not_count(ready: NodeFolder) -> None:
    ready.write("addresses", "2: eth0 inet6 fd00::10/64 scope global dadfailed tentative\n")
    clustered(ready, CLUSTER_ADDRESS="fd00::10", addresses="")
    ready.write("addresses", "2: eth0 inet6 fd00::10/64 scope global dadfailed tentative\n")
    assert waits(ready)["waits_for"] == "address"


TAKEN = (
    'case $1 in -V) echo "arping from iputils 20240905" ;; *) echo "Unicast reply from $8 [%s]  1ms" && exit 1 ;; esac'
)


def test_an_address_that_another_machine_has_too_is_told_with_its_card(ready: NodeFolder) -> None:
    ready.stand_in("arping", TAKEN % "52:54:00:AB:0C:01")
    said = waits(ready, lambda: ready.stand_in("arping", "echo arping from iputils"))
    assert said["waits_for"] == "address"
    assert "another machine has the address 192.168.7.10 too, by its network card 52:54:0:ab:c:1" in said["reason"]
    assert "arping -D -c 2 -w 2 -I eth0 192.168.7.10" in ready.calls


def test_a_card_of_this_machine_that_answers_is_no_other(ready: NodeFolder) -> None:
    ready.write("sys/class/net/eth1/address", "52:54:00:ab:0c:01\n")
    ready.stand_in("arping", TAKEN % "52:54:00:AB:0C:01")
    assert ready.run("k3s-gate").returncode == 0


@pytest.mark.parametrize(
    "arping", ["echo ARPing 2.23; exit 1", "case $1 in -V) echo iputils ;; *) echo 'no such device'; exit 2 ;; esac"]
)
def test_a_program_that_can_not_tell_keeps_nobody_waiting(ready: NodeFolder, arping: str) -> None:
    ready.stand_in("arping", arping)
    assert ready.run("k3s-gate").returncode == 0


@pytest.mark.root
@pytest.mark.parametrize("program", ["arping", "busybox"])
def test_two_machines_with_one_address_are_told_by_real_programs(ready: NodeFolder, program: str) -> None:
    if os.geteuid() or not shutil.which("ip") or not shutil.which(program):
        pytest.skip(f"needs root, ip and {program}")
    (ready.bin / program).unlink()
    with machines() as rack:
        ready.write("sys/class/net/eth0/address", rack.run(rack.node, "cat", "/sys/class/net/eth0/address"))
        other = rack.run(rack.computer, "cat", "/sys/class/net/eth0/address")
        # By the real ip: among the node's own programs is a stand-in for it.
        gate_there = [shutil.which("ip"), "netns", "exec", rack.node, ready.library / "k3s-gate"]
        assert subprocess.run(gate_there, env=ready.environment, timeout=60, check=False).returncode == 0
        assert told(ready, "state") == "starting"
        rack.run(rack.computer, "ip", "address", "add", "192.168.7.10/24", "dev", "eth0")
        gate = subprocess.Popen(gate_there, env=ready.environment)
        try:
            comes(lambda: "another machine has the address" in told(ready, "reason"))
        finally:
            gate.terminate()
            gate.wait()
    card = ":".join(f"{int(byte, 16):x}" for byte in other.strip().split(":"))
    assert card in told(ready, "reason")


def test_a_node_by_dhcp_waits_for_any_address(ready: NodeFolder) -> None:
    clustered(ready, CLUSTER_ADDRESS="")
    ready.write("addresses", "")
    said = waits(ready, lambda: ready.write("addresses", "2: eth0 inet 10.0.0.5/24 brd 10.0.0.255\n"))
    assert said["reason"] == "there is no address yet"


def test_the_address_is_looked_for_on_the_clusters_interface(ready: NodeFolder) -> None:
    clustered(ready, CLUSTER_INTERFACE="eth1")
    assert ready.run("k3s-gate").returncode == 0
    assert "ip -o address show dev eth1 scope global" in ready.calls


def test_a_k3s_that_is_not_there_is_waited_for(ready: NodeFolder) -> None:
    path = ready.root / "usr/local/bin/k3s"
    path.unlink()

    def install() -> None:
        ready.write("usr/local/bin/k3s.new", "").chmod(0o755)
        path.with_suffix(".new").rename(path)

    assert waits(ready, install)["waits_for"] == "program"


def test_a_k3s_that_the_first_boot_could_not_fetch_is_fetched_here(ready: NodeFolder) -> None:
    (ready.root / "usr/local/bin/k3s").unlink()
    ready.write("etc/imagesmith/downloads", "file x\n")
    bring = 'printf x >"$ROOT/usr/local/bin/k3s"; chmod 755 "$ROOT/usr/local/bin/k3s"'
    ready.add_step(
        "70-downloads", f'#!/bin/sh\n[ -e "$ROOT/network" ] || {{ echo "no network" >&2; exit 1; }}\n{bring}\n'
    )
    said = waits(ready, lambda: ready.write("network", ""))
    assert said["waits_for"] == "program"
    assert said["reason"].endswith("no network")


# -- a server to join ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("duty", ["agent", "server"])
def test_who_joins_waits_for_a_server_and_learns_which_it_was(ready: NodeFolder, duty: str, tmp_path: Path) -> None:
    port = silent_port()
    clustered(ready, CLUSTER_DUTY=duty, CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=f"https://127.0.0.1:{port}")
    with ExitStack() as until:
        said = waits(ready, lambda: until.enter_context(serving(tmp_path / "tls", authority(), port=port)))
    assert said["waits_for"] == "server"
    assert said["reason"] == f"https://127.0.0.1:{port} does not answer"
    assert ready.read("run/imagesmith/server") == f"https://127.0.0.1:{port}\n"


def test_the_first_server_that_answers_is_taken(ready: NodeFolder, tmp_path: Path) -> None:
    with serving(tmp_path / "tls", authority()) as url:
        servers = f"https://127.0.0.1:{silent_port()} {url}"
        clustered(ready, CLUSTER_DUTY="agent", CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=servers)
        assert ready.run("k3s-gate").returncode == 0
    assert ready.read("run/imagesmith/server") == f"{url}\n"


# What the gate uses beside the stand-ins, without openssl.
PROGRAMS = (
    *("awk", "base64", "cat", "chmod", "cmp", "curl", "cut", "date", "dirname", "env", "grep", "head", "mkdir", "mv"),
    *("paste", "rm", "sed", "sh", "sha256sum", "sleep", "stat", "sync", "tail", "timeout", "tr"),
)


@pytest.fixture(params=["openssl", "curl"])
def asking(request: pytest.FixtureRequest, ready: NodeFolder, tmp_path: Path) -> NodeFolder:
    """A node that asks by one of the two programs."""
    if request.param == "curl":
        without = tmp_path / "without-openssl"
        without.mkdir()
        for name in PROGRAMS:
            found = shutil.which(name)
            assert found, name
            (without / name).symlink_to(found)
        ready.environment["PATH"] = f"{ready.bin}:{without}"
    return ready


@pytest.mark.parametrize("kind", ["chain", "alone"])
def test_a_server_is_known_by_the_tokens_hash(asking: NodeFolder, tmp_path: Path, kind: str) -> None:
    own = authority() if kind == "chain" else alone()
    with serving(tmp_path / "tls", own) as url:
        clustered(asking, CLUSTER_DUTY="agent", CLUSTER_CA_HASH=ca_hash(own.bundle), CLUSTER_SERVERS=url)
        assert asking.run("k3s-gate").returncode == 0


def test_another_clusters_server_is_refused_and_told(asking: NodeFolder, tmp_path: Path) -> None:
    with serving(tmp_path / "tls", authority(1)) as url:
        clustered(asking, CLUSTER_DUTY="agent", CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=url)
        said = waits(asking)
    assert said["waits_for"] == "server"
    assert f"{url} is refused: it is another cluster's, or stands between" in said["reason"]


def test_who_shows_our_certificates_and_has_not_their_key_is_refused(asking: NodeFolder, tmp_path: Path) -> None:
    with serving(tmp_path / "tls", authority(1), shown=authority()) as url:
        clustered(asking, CLUSTER_DUTY="agent", CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=url)
        said = waits(asking)
    assert f"{url} is refused: it shows this cluster's certificates and can't prove" in said["reason"]


def test_our_root_among_foreign_certificates_vouches_for_none_of_them(asking: NodeFolder, tmp_path: Path) -> None:
    mixed = replace(authority(1), bundle=authority(1).bundle + authority().bundle)
    with serving(tmp_path / "tls", authority(1), shown=mixed) as url:
        clustered(asking, CLUSTER_DUTY="agent", CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=url)
        assert "can't prove" in waits(asking)["reason"]


def test_a_proxy_is_not_asked(asking: NodeFolder, tmp_path: Path) -> None:
    asking.environment |= {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    with serving(tmp_path / "tls", authority()) as url:
        clustered(asking, CLUSTER_DUTY="agent", CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=url)
        assert asking.run("k3s-gate").returncode == 0


def test_it_asks_ever_less_often_and_does_not_give_up(ready: NodeFolder) -> None:
    servers = f"https://127.0.0.1:{silent_port()}"
    clustered(ready, CLUSTER_DUTY="agent", CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=servers)

    def pauses() -> list[int]:
        return [int(call.split()[1]) for call in ready.calls if call.startswith("sleep")]

    with running(ready) as gate:
        comes(lambda: pauses().count(60) >= 2)
        assert gate.poll() is None
    asked = pauses()
    assert asked[:10] == [5] * 10
    assert asked == sorted(asked) and max(asked) == 60
    assert all(pause <= max(5, sum(asked[:number]) / 8) for number, pause in enumerate(asked))


def test_the_status_is_written_when_it_changes_and_not_again(ready: NodeFolder) -> None:
    servers = f"https://127.0.0.1:{silent_port()}"
    clustered(ready, CLUSTER_DUTY="agent", CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=servers)
    path = ready.root / "var/lib/imagesmith/cluster/status"
    with running(ready):
        comes(lambda: told(ready, "waits_for") == "server")
        written = path.stat()
        count = len(ready.calls)
        comes(lambda: len(ready.calls) >= count + 3)
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def test_a_server_with_its_datastore_waits_for_nobody(ready: NodeFolder) -> None:
    servers = f"https://127.0.0.1:{silent_port()}"
    clustered(ready, CLUSTER_DUTY="server", CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=servers)
    (ready.root / "var/lib/rancher/k3s/server/db").mkdir(parents=True)
    assert ready.run("k3s-gate").returncode == 0


def test_an_agent_goes_to_a_server_that_k3s_heard_of_since(ready: NodeFolder, tmp_path: Path) -> None:
    gone = f"https://127.0.0.1:{silent_port()}"
    clustered(ready, CLUSTER_DUTY="agent", CLUSTER_CA_HASH=HASH, CLUSTER_SERVERS=gone)
    with serving(tmp_path / "tls", authority()) as url:
        noted = {"ServerURL": gone, "ServerAddresses": [gone[8:], url[8:]]}
        ready.write("var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json", json.dumps(noted))
        assert ready.run("k3s-gate").returncode == 0
    assert ready.read("run/imagesmith/server") == f"{url}\n"


@pytest.mark.parametrize(("servers", "waited"), [("https://192.168.7.1:6443", True), ("", False)])
def test_one_of_several_founds_only_when_it_can_ask_the_others(node: NodeFolder, servers: str, waited: bool) -> None:
    clustered(node, CLUSTER_SERVERS=servers)
    for path in (*Path("/bin").iterdir(), *Path("/usr/bin").iterdir()):
        if path.name not in ("openssl", "curl") and not (node.bin / path.name).exists():
            (node.bin / path.name).symlink_to(path)
    node.environment["PATH"] = str(node.bin)
    with running(node) as gate:
        comes(lambda: "neither openssl nor curl" in told(node, "reason") if waited else gate.poll() == 0)


def test_a_disk_without_room_does_not_keep_k3s_away(ready: NodeFolder) -> None:
    (ready.root / "var/lib/imagesmith/cluster/status.new").mkdir(parents=True)
    done = ready.run("k3s-gate")
    assert done.returncode == 0
    assert "can't be written" in done.stdout


def test_settings_of_the_cluster_are_data(ready: NodeFolder) -> None:
    ready.write(CLUSTER_CONF, ready.read(CLUSTER_CONF) + "CLUSTER_ADDRESS='$(touch $ROOT/run-it)'\n")
    waits(ready)
    assert not ready.exists("run-it")
