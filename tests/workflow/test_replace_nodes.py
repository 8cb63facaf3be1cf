"""A rack that runs loses and regains a node: what its servers are asked, in which order, what the vault remembers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as but
from pathlib import Path

import pytest
from remote.machines import SSHD
from remote.racks import Running, running_rack

from imagesmith.errors import Interrupted, NodeUnreachable, UsageError
from imagesmith.events import Event, Progress
from imagesmith.model import Vpn, ZeroTier
from imagesmith.vault.index import read_index
from imagesmith.workflow.replace import add, replace
from imagesmith.workflow.vault import record_founded

pytestmark = pytest.mark.skipif(not SSHD, reason="sshd is not installed")
FOUNDED = "2026-11-01T00:00:00Z"


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Running]:
    with running_rack(tmp_path) as found:
        yield found


def test_a_server_is_taken_out_of_etcd_and_the_cluster_through_another(rack: Running) -> None:
    (rack.cluster / "s-3.version").write_text("v1.36.3+k3s1")
    (rack.cluster / "s-3.etcd").write_text("")
    left = replace(rack.rack, "s-1", rack.agree())
    asked = rack.calls("drain", "annotate", "stop", "delete")
    assert [call.partition(" --")[0] for call in asked] == [
        "s-1: systemctl stop k3s.service",
        "s-2: k3s kubectl drain s-1",
        "s-2: k3s kubectl annotate",
        "s-2: k3s kubectl delete node s-1",
    ]
    assert not list(rack.cluster.glob("s-1.*"))
    assert [line.partition(",")[0] for line in left] == [
        "switch s-1 off and take its old card out; never start it again",
        "imagesmith build s-1",
        "imagesmith flash /dev/sdX",
    ]
    assert rack.fact("founded")


def test_nothing_is_done_that_was_not_agreed(rack: Running) -> None:
    with pytest.raises(Interrupted, match="nothing was changed"):
        replace(rack.rack, "a-1", rack.agree(False))
    assert any("k3s kubectl drain a-1" in line for line in rack.shown)
    assert rack.calls("drain", "delete", "stop") == []


def test_a_cluster_that_answered_is_remembered_whatever_comes_of_it(rack: Running) -> None:
    seen = []

    def refuse(lines: object) -> bool:
        seen.append(rack.fact("founded"))
        return False

    with pytest.raises(Interrupted):
        replace(rack.rack, "a-1", refuse)
    assert seen == [rack.fact("founded")]
    assert seen[0].startswith("20")


def test_a_step_that_fails_stops_all_that_come_after(rack: Running) -> None:
    rack.machines["s-1"].write("drain-fails", "")
    with pytest.raises(NodeUnreachable) as caught:
        replace(rack.rack, "a-1", rack.agree())
    assert "disruption budget" in caught.value.what
    assert "--no-drain" in caught.value.hint
    assert rack.calls("delete node", "stop") == []
    assert replace(rack.rack, "a-1", rack.agree(), drain=False)
    assert rack.calls("delete node")


def test_the_only_server_that_answers_is_not_given_up(rack: Running) -> None:
    rack.machines["s-1"].write("k3s-fails", "")
    with pytest.raises(UsageError, match="no other server answers"):
        replace(rack.rack, "s-2", rack.agree())
    assert rack.calls("stop") == []


def test_empty_lets_the_next_image_found_anew(rack: Running) -> None:
    alone = but(rack.rack, duties={"s-1": "founder", "a-1": "agent"})
    record_founded(rack.vault, FOUNDED)
    with pytest.raises(UsageError, match="is the only server"):
        replace(alone, "s-1", rack.agree())
    assert rack.fact("founded") == FOUNDED
    replace(alone, "s-1", rack.agree(), empty=True)
    assert rack.fact("founded") == ""
    assert rack.calls("systemctl stop") == ["s-1: systemctl stop k3s.service"]


def test_a_node_that_is_new_gets_its_secrets_and_no_running_one_is_changed(rack: Running) -> None:
    for file in rack.cluster.glob("a-1.*"):
        file.unlink()
    drawn, left = add(rack.rack, "a-1")
    assert "nodes/a-1/node-password" in drawn
    assert "nodes/a-1/node-password" in read_index(rack.vault).secrets
    assert left[0] == "imagesmith build a-1"
    assert rack.fact("founded")
    assert {call.partition(": ")[2].split()[0] for call in rack.calls("")} == {"k3s", "sed"}
    assert all("k3s kubectl get nodes" in call for call in rack.calls("k3s "))


@pytest.mark.slow
def test_a_new_node_that_joins_a_network_is_heard_of_while_its_identity_is_searched_for(rack: Running) -> None:
    for file in rack.cluster.glob("a-1.*"):
        file.unlink()
    vpn, heard = Vpn(ZeroTier("8056c2e21c000001", members={"a-1": ""})), list[Event]()
    drawn, _ = add(but(rack.rack, cluster=but(rack.rack.cluster, vpn=vpn)), "a-1", heard.append)
    assert "nodes/a-1/zerotier-identity" in drawn
    assert [event.done for event in heard if isinstance(event, Progress)] == [0, 1]


def test_a_node_that_is_there_is_not_added(rack: Running) -> None:
    with pytest.raises(UsageError, match="has a a-1 already"):
        add(rack.rack, "a-1")
