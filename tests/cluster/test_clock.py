"""The time of a rack: who tells it to whom, and a real chronyd that tells it with nobody to ask itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.namespaces import FAR, NEAR, NODE, NODE_FROM_FAR, Machines, machines
from cluster.node_parts import MATERIALS, PROFILE, RACK, part, servers, texts

from imagesmith.cluster import clock, contents
from imagesmith.model import Cluster, Network, Upkeep

CHRONYD = shutil.which("chronyd", path=f"{os.environ['PATH']}:/usr/sbin")
HA = replace(RACK, nodes=(*servers(3), *RACK.nodes[1:]))
SILENT = Upkeep(serve_time=False)


def asked(name: str, cluster: Cluster = RACK, own: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Whom a node asks for the time, where the inventory names `own`."""
    one = part(name, cluster)
    node = replace(one.node, settings=replace(one.node.settings, time_servers=own))
    return contents.settled(one, node).settings.time_servers


def test_nodes_ask_the_servers() -> None:
    assert asked("arm-1") == ("192.168.7.10",)
    assert asked("arm-1", HA) == ("192.168.7.1", "192.168.7.2", "192.168.7.3")


def test_nodes_ask_whom_the_inventory_names_and_then_the_servers() -> None:
    assert asked("arm-1", own=("ntp.example",)) == ("ntp.example", "192.168.7.10")


def test_nobody_is_asked_twice() -> None:
    assert asked("arm-1", own=("192.168.7.10",)) == ("192.168.7.10",)


def test_a_lone_server_asks_nobody_new() -> None:
    assert asked("head") == ()


def test_servers_ask_each_other() -> None:
    assert asked("head-2", HA) == ("192.168.7.1", "192.168.7.3")


def test_a_server_whose_address_is_not_known_serves_no_time() -> None:
    cluster = replace(RACK, nodes=(replace(RACK.nodes[0], network=Network()), *RACK.nodes[1:]))
    assert not clock.serves(part("head", cluster))
    assert asked("arm-1", cluster) == ()


def test_a_server_is_asked_at_the_address_that_is_reserved_for_it() -> None:
    reserved = Network(mac="52:54:00:12:34:56", reserved="192.168.7.77")
    cluster = replace(RACK, nodes=(replace(RACK.nodes[0], network=reserved), *RACK.nodes[1:]))
    assert clock.serves(part("head", cluster))
    assert asked("arm-1", cluster) == ("192.168.7.77",)


def test_nothing_changes_where_no_time_is_to_be_served() -> None:
    cluster = replace(RACK, upkeep=SILENT)
    assert asked("arm-1", cluster) == ()
    one = part("head", cluster)
    assert (clock.edits(one, PROFILE, MATERIALS), clock.promises(one), clock.packages(one)) == ((), (), ())
    assert clock.withdrawn(one) == frozenset()


def test_agents_keep_the_clock_service_that_they_have() -> None:
    one = part("arm-1")
    assert (clock.edits(one, PROFILE, MATERIALS), clock.packages(one), clock.withdrawn(one)) == ((), (), frozenset())


def test_a_server_has_chrony_in_the_place_of_systemds_own() -> None:
    assert clock.packages(part()) == ("chrony",)
    assert [promise.fact for promise in clock.promises(part())] == ["unit.chrony.service"]
    assert clock.withdrawn(part()) == {"unit.systemd-timesyncd.service"}


# -- a real chronyd -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net() -> Iterator[Machines]:
    if os.geteuid() != 0 or not CHRONYD:
        pytest.skip("needs root and chronyd")
    with machines() as made:
        yield made


def conf(folder: Path) -> Path:
    """As Debian's chrony.conf reads ours, without its servers on the internet."""
    (folder / "conf.d").mkdir()
    (folder / "conf.d/50-imagesmith.conf").write_text(texts(clock.edits(part(), PROFILE, MATERIALS))[clock.CONF])
    lines = (f"confdir {folder}/conf.d", f"driftfile {folder}/drift", f"pidfile {folder}/pid", "cmdport 0")
    path = folder / "chrony.conf"
    path.write_text("".join(f"{line}\n" for line in (*lines, "bindcmdaddress /", "makestep 1 3")))
    return path


@contextmanager
def telling(net: Machines, folder: Path) -> Iterator[None]:
    """chronyd on the node, which never touches this machine's clock (-x)."""
    argv = ["ip", "netns", "exec", net.node, str(CHRONYD), "-x", "-d", "-u", "root", "-f", str(conf(folder))]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield
        finally:
            running.terminate()


def is_told(net: Machines, source: str, server: str, folder: Path) -> bool:
    """Whether a client finds the time there; it only looks (-Q)."""
    wanted = (f"server {server} iburst", f"bindacqaddress {source}", f"pidfile {folder}/client.pid", "cmdport 0")
    argv = [
        "ip",
        "netns",
        "exec",
        net.computer,
        str(CHRONYD),
        "-Q",
        "-t",
        "6",
        "-u",
        "root",
        *wanted,
        "bindcmdaddress /",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode == 0 and "System clock wrong by" in done.stdout + done.stderr


@pytest.mark.root
def test_a_server_that_nobody_tells_the_time_tells_it_to_the_nodes_and_to_nobody_else(
    net: Machines, tmp_path: Path
) -> None:
    with telling(net, tmp_path):
        deadline = time.monotonic() + 20
        while not (found := is_told(net, NEAR, NODE, tmp_path)) and time.monotonic() < deadline:
            pass
        assert found
        assert not is_told(net, FAR, NODE_FROM_FAR, tmp_path)


@pytest.mark.skipif(not CHRONYD, reason="chronyd is not installed")
def test_chronyd_takes_the_settings(tmp_path: Path) -> None:
    done = subprocess.run([str(CHRONYD), "-p", "-f", conf(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "allow 192.168.7.0/24" in done.stdout.splitlines()
    assert "local stratum 10 orphan" in done.stdout.splitlines()
