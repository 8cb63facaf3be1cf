"""What replacing and adding a node takes, by what it is and what its cluster says; and where it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagesmith.errors import UsageError
from imagesmith.planning.health import KubeNode
from imagesmith.planning.life import Step, shown
from imagesmith.planning.replacing import Replacement, addition, founds_anew, replacement

V = "v1.36.3+k3s1"


def server(name: str, *, ready: bool = True) -> KubeNode:
    return KubeNode(name, ready, V, etcd=True, member=f"{name}-1a2b")


THREE = {name: server(name) for name in ("s-1", "s-2", "s-3")} | {"a-1": KubeNode("a-1", True, V)}
AGENT = Replacement("a-1", "agent", ("s-1", "s-2", "s-3"), "etcd", "s-1", THREE)
SERVER = Replacement("s-2", "server", ("s-1", "s-2", "s-3"), "etcd", "s-1", THREE)
ONLY = Replacement("s-1", "founder", ("s-1",), "sqlite", answers=True)


def words(steps: tuple[Step, ...]) -> str:
    return "\n".join(shown(step) for step in steps)


def test_an_agent_is_drained_and_forgotten_through_a_server() -> None:
    lines = words(replacement(AGENT, empty=False)).splitlines()
    assert lines[0].startswith("s-1: move the pods of a-1 elsewhere (k3s kubectl drain a-1 --ignore-daemonsets")
    assert lines[1] == "you: switch a-1 off and take its old card out; never start it again"
    assert lines[2].startswith("s-1: forget a-1 (k3s kubectl delete node a-1")
    assert lines[3] == "you: imagesmith build a-1"
    assert len(lines) == 5


def test_an_agent_is_no_member_of_etcd_and_keeps_its_password() -> None:
    told = words(replacement(AGENT, empty=False))
    assert "etcd" not in told
    assert "secret" not in told


def test_a_password_that_changed_is_forgotten_too() -> None:
    told = words(replacement(replace(AGENT, password_changed=True), empty=False))
    assert "-n kube-system delete secret a-1.node-password.k3s --ignore-not-found" in told


def test_a_node_that_is_down_is_not_drained() -> None:
    down = replace(AGENT, nodes={**THREE, "a-1": KubeNode("a-1", False, V)})
    assert "drain" not in words(replacement(down, empty=False))
    assert "delete node a-1" in words(replacement(down, empty=False))


def test_no_drain_leaves_the_pods() -> None:
    assert "drain" not in words(replacement(AGENT, empty=False, drain=False))


def test_a_node_that_never_joined_is_only_built() -> None:
    nodes = {name: node for name, node in THREE.items() if name != "a-1"}
    told = words(replacement(replace(AGENT, nodes=nodes), empty=False))
    assert "kubectl" not in told
    assert "imagesmith build a-1" in told


def test_a_member_leaves_etcd_before_its_node_is_deleted_and_while_it_runs() -> None:
    lines = words(replacement(replace(SERVER, answers=True), empty=False)).splitlines()
    parts = (
        "drain s-2",
        "annotate --overwrite node s-2 etcd.k3s.cattle.io/remove=true",
        "removed-node-name",
        "systemctl stop k3s.service",
        "delete node s-2",
        "build s-2",
    )
    order = [next(n for n, line in enumerate(lines) if part in line) for part in parts]
    assert order == sorted(order)
    assert all(line.startswith(("s-1: ", "you: ", "s-2: stop k3s on the old card")) for line in lines)


def test_nothing_is_deleted_by_force() -> None:
    assert "--force" not in words(replacement(SERVER, empty=False))


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (ONLY, "is the only server"),
        (replace(SERVER, datastore="sqlite"), "is the only server"),
        (replace(SERVER, server="", nodes=None), "no other server answers"),
        (replace(SERVER, nodes={**THREE, "s-2": server("s-2", ready=False), "s-3": server("s-3", ready=False)}),
         "etcd has 3 members and 1 of them are Ready, 2 are needed"),
        (replace(SERVER, nodes={name: server(name, ready=name == "s-1") for name in ("s-1", "s-2")}),
         "etcd has 2 members and 1 of them are Ready, 2 are needed"),
    ],
)  # fmt: skip
def test_what_would_lose_the_cluster_is_refused(wanted: Replacement, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        replacement(wanted, empty=False)
    assert says in caught.value.what
    assert caught.value.hint


def test_a_server_that_is_down_can_be_replaced_while_a_majority_is_ready() -> None:
    down = replace(SERVER, nodes={**THREE, "s-2": server("s-2", ready=False)})
    assert "etcd.k3s.cattle.io/remove=true" in words(replacement(down, empty=False))


def test_empty_founds_anew_where_the_only_server_is_lost() -> None:
    told = words(replacement(ONLY, empty=True))
    assert "kubectl" not in told
    assert "imagesmith build s-1" in told
    assert founds_anew(ONLY, empty=True)
    assert not founds_anew(ONLY, empty=False)


def test_empty_is_refused_while_another_server_has_the_cluster() -> None:
    with pytest.raises(UsageError, match="--empty is for a cluster that is lost"):
        replacement(SERVER, empty=True)


def test_empty_is_refused_where_another_servers_image_would_found() -> None:
    lost = replace(SERVER, server="", nodes=None)
    with pytest.raises(UsageError, match="s-2 would found nothing: the next image of s-1") as caught:
        replacement(lost, empty=True)
    assert "imagesmith replace s-1 --empty" in caught.value.hint
    assert "imagesmith build s-1" in words(replacement(replace(lost, node="s-1"), empty=True))


def test_an_agent_comes_back_where_no_server_answers() -> None:
    told = words(replacement(replace(AGENT, server="", nodes=None), empty=False))
    assert told.splitlines()[-1].startswith("you: imagesmith flash")


def test_an_agent_is_added_by_its_image_alone() -> None:
    assert words(addition("a-2", "agent", ("s-1",), THREE)).splitlines() == [
        "you: imagesmith build a-2",
        "you: imagesmith flash /dev/sdX, and switch a-2 on",
    ]


def test_the_second_server_is_told_to_bear_no_loss() -> None:
    told = words(addition("s-2", "server", ("s-1", "s-2", "s-3"), {"s-1": server("s-1")}))
    assert "two servers bear no loss at all" in told


def test_a_node_that_is_there_is_not_added() -> None:
    with pytest.raises(UsageError, match="has a a-1 already") as caught:
        addition("a-1", "agent", ("s-1",), THREE)
    assert "imagesmith replace a-1" in caught.value.hint
