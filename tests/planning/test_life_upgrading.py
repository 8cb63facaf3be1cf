"""The order of an upgrade, what it does on each node, and every reason to refuse it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagesmith.errors import UsageError
from imagesmith.planning.life import Run, Step, shown
from imagesmith.planning.upgrading import Images, Program, Running, parse_version, upgrade

OLD, NEW = "v1.36.3+k3s1", "v1.37.1+k3s1"
PROGRAMS = (Program("amd64", "a" * 64), Program("arm64", "b" * 64))


def node(name: str, duty: str = "agent", kind: str = "arm64", version: str = OLD) -> Running:
    return Running(name, duty, kind, version, version, True)


RACK = (node("a-1"), node("s-1", "founder", "amd64"), node("s-2", "server", "amd64"), node("a-2"))


def order(steps: tuple[Step, ...]) -> list[str]:
    """The nodes in the order in which they get the program."""
    return [step.node for step in steps if isinstance(step, Run) and step.sends]


def plan(*nodes: Running, target: str = NEW, datastore: str = "etcd") -> tuple[Step, ...]:
    return upgrade(nodes, target, PROGRAMS, datastore)


def test_the_snapshot_comes_first_then_servers_then_agents() -> None:
    steps = plan(*RACK)
    assert shown(steps[0]).endswith("(k3s etcd-snapshot save --name before-v1.37.1-k3s1)")
    assert order(steps) == ["s-1", "s-2", "a-1", "a-2"]


def test_a_node_is_ready_with_the_new_version_before_the_next_one_is_touched() -> None:
    steps = plan(*RACK)
    first = [step for step in steps if isinstance(step, Run)]
    ready = next(n for n, step in enumerate(first) if step.doing == f"wait until s-1 is Ready with {NEW}")
    touched = next(n for n, step in enumerate(first) if step.node == "s-2")
    assert ready < touched


def test_what_arrived_is_compared_before_it_takes_the_programs_place() -> None:
    doing = [step.doing for step in plan(node("a-1"), *RACK[1:2]) if isinstance(step, Run) and step.node == "a-1"]
    assert doing == [
        "send the program",
        "compare what arrived",
        "let it be run",
        "ask it for its version",
        "keep the program of before",
        f"put {NEW} in place",
        "restart k3s",
    ]


def test_each_architecture_gets_its_own_program() -> None:
    steps = plan(*RACK)
    sent = {step.node: step.sends for step in steps if isinstance(step, Run) and step.sends}
    assert sent == {"s-1": "amd64", "s-2": "amd64", "a-1": "arm64", "a-2": "arm64"}
    compared = {step.node: step.says[:4] for step in steps if isinstance(step, Run) and "compare" in step.doing}
    assert compared["s-1"] == "aaaa"
    assert compared["a-1"] == "bbbb"


def test_agents_are_asked_for_through_a_server_and_restarted_by_their_own_unit() -> None:
    steps = [shown(step) for step in plan(*RACK)]
    assert "a-1: restart k3s (systemctl restart k3s-agent.service)" in steps
    assert any(line.startswith(f"s-1: wait until a-1 is Ready with {NEW}") for line in steps)


def test_sqlite_is_copied_while_k3s_is_stopped() -> None:
    doing = [step.doing for step in plan(node("s-1", "founder", "amd64"), datastore="sqlite") if isinstance(step, Run)]
    assert "save etcd to a snapshot of its own folder" not in doing
    stop, copy = doing.index("stop k3s, pods go on"), next(n for n, one in enumerate(doing) if "copy its data" in one)
    assert stop < copy < doing.index(f"put {NEW} in place") < doing.index("restart k3s")


def test_nodes_that_are_there_already_are_skipped() -> None:
    done = [replace(one, version=NEW, program=NEW) for one in RACK[1:3]]
    assert order(plan(RACK[0], *done, RACK[3])) == ["a-1", "a-2"]
    assert upgrade(tuple(replace(one, version=NEW, program=NEW) for one in RACK), NEW, (), "etcd") == ()


def test_a_node_whose_program_was_put_in_place_is_restarted_and_not_sent_again() -> None:
    begun = replace(RACK[1], program=NEW, ready=False)
    steps = plan(begun, RACK[2])
    assert order(steps) == ["s-2"]
    assert "s-1: restart k3s (systemctl restart k3s.service)" in [shown(step) for step in steps]


def test_an_upgrade_that_stopped_at_the_only_server_goes_on_without_a_snapshot() -> None:
    steps = plan(replace(RACK[1], program=NEW, ready=False))
    assert not any("snapshot" in shown(step) for step in steps)
    assert steps


@pytest.mark.parametrize(
    ("nodes", "target", "says"),
    [
        (RACK, "v1.38.0+k3s1", "no minor version may be skipped, so the newest v1.37 comes first"),
        (RACK, "v2.0.0+k3s1", "no minor version may be skipped"),
        (RACK, "v1.36.2+k3s1", "runs v1.36.3+k3s1 already; k3s does not go back"),
        (RACK, "v1.36.3-rc1+k3s1", "k3s does not go back"),
        ((replace(RACK[0], ready=False), *RACK[1:]), NEW, "a-1 is not Ready; bring it back first"),
        ((*RACK, node("x-1", kind="riscv64")), NEW, "there is no program for riscv64"),
    ],
)
def test_what_is_refused_says_why_and_changes_nothing(nodes: tuple[Running, ...], target: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(*nodes, target=target)
    assert says in caught.value.what
    assert caught.value.hint == "nothing was changed"


def test_every_reason_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        plan(replace(RACK[0], ready=False), RACK[1], target="v1.39.0+k3s1")
    assert "a-1 is not Ready" in caught.value.what
    assert caught.value.what.count("no minor version may be skipped") == 2


@pytest.mark.parametrize(("one", "other"), [
    ("v1.36.3+k3s1", "v1.36.3+k3s2"), ("v1.36.9+k3s1", "v1.36.10+k3s1"), ("v1.37.0-rc2+k3s1", "v1.37.0+k3s1"),
    ("v1.9.0+k3s1", "v1.10.0+k3s1"),
])  # fmt: skip
def test_versions_have_an_order(one: str, other: str) -> None:
    assert parse_version(one) < parse_version(other)


@pytest.mark.parametrize("text", ["1.36.3+k3s1", "v1.36.3", "v1.36+k3s1", "stable", "v1.36.3+k3s1\n", "v1.36.3+rke2r1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no version of k3s"):
        parse_version(text)


IMAGES = Images("arm64", "c" * 64, "k3s-airgap-images-arm64.tar.zst")


def with_images(one: Running) -> list[str]:
    steps = upgrade((*RACK[1:2], one), NEW, PROGRAMS, "etcd", [IMAGES])
    return [step.doing for step in steps if isinstance(step, Run) and step.node == one.node and "images" in step.doing]


def test_images_are_in_place_before_the_restart_and_those_of_before_go_after_it() -> None:
    steps = upgrade((*RACK[1:2], node("a-1")), NEW, PROGRAMS, "etcd", [IMAGES])
    doing = [step.doing for step in steps if isinstance(step, Run) and step.node == "a-1"]
    restart = doing.index("restart k3s")
    assert doing.index("put the container images in place") < restart
    assert doing.index("remove the container images of before") == len(doing) - 1 > restart


def test_a_node_that_has_the_images_is_sent_none_and_one_that_lacks_them_alone_is_not_done() -> None:
    done = node("a-1", version=NEW)
    assert with_images(replace(done, images="c" * 64)) == []
    assert "send the container images" in with_images(replace(done, images="d" * 64))
    # It was stopped after they were put there: what is left is to remove those of before.
    stopped = replace(node("a-1"), program=NEW, images="c" * 64)
    assert with_images(stopped) == ["remove the container images of before"]
