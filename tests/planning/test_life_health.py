"""What nodes tell is read strictly, and judged: every wrong by a fact of its own, and nothing where all is well."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from imagesmith.errors import ContentMalformed
from imagesmith.identity import certificates
from imagesmith.planning.health import Facts, KubeNode, State, read_facts, read_nodes, wrongs

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLOCK = int(NOW.timestamp())
WELL = {
    "hostname": "node-1",
    "machine_id": "1" * 32,
    "clock": str(CLOCK),
    "clock_synchronized": "yes",
    "firstboot.state": "done",
    "gate.waits_for": "nothing",
    "unit": "k3s.service",
    "unit.ActiveState": "active",
    "readyz": "ok",
    "disk_kib": "30000000",
    "disk_free_kib": "20000000",
}
KUBE = KubeNode("node-1", True, "v1.36.3+k3s1")


def state(duty: str = "server", **told: str) -> State:
    return State("node-1", duty, facts=Facts({**WELL, **told}, asked=(CLOCK - 1, CLOCK + 1)), kube=KUBE)


def found(*states: State) -> tuple[str, ...]:
    return wrongs(states, NOW, asked_cluster=True)


def certificate(days: int) -> str:
    drawn = certificates.Drawn(ec.generate_private_key(ec.SECP256R1()), 7, NOW - timedelta(days=1))
    return base64.b64encode(certificates.der(certificates.authority(drawn, "x", days, None))).decode()


def test_a_node_that_is_well_has_nothing_wrong() -> None:
    assert found(state()) == ()


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"hostname": "raspberrypi"}, "it calls itself raspberrypi"),
        ({"firstboot.state": "failed", "firstboot.step.80-k3s": "failed", "firstboot.step.10-clock": "done"},
         "its first boot is not done: 80-k3s"),
        ({"clock": str(CLOCK - 3600)}, "its clock is -3598 s off ours"),
        ({"clock": str(CLOCK + 60)}, "its clock is +59 s off ours"),
        ({"clock_synchronized": "no"}, "its clock is not synchronised"),
        ({"disk_free_kib": "300000"}, "its disk is nearly full: 292 MiB are free"),
        ({"gate.waits_for": "cgroup", "gate.reason": "no memory controller", "unit.ActiveState": "activating"},
         "k3s waits for: cgroup (no memory controller)"),
        ({"unit.ActiveState": "failed"}, "k3s.service is failed"),
        ({"unit.ActiveState": ""}, "k3s.service is unknown"),
        ({"readyz": ""}, "its API is not ready: no answer"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_alone(told: dict[str, str], wrong: str) -> None:
    assert found(state(**told)) == (f"node-1: {wrong}",)


def test_an_agent_has_no_api_to_be_ready() -> None:
    assert found(state("agent", unit="k3s-agent.service", readyz="")) == ()


def test_a_node_that_is_silent_is_told_with_the_reason() -> None:
    assert found(State("node-1", "agent", "it does not answer")) == ("node-1: it does not answer",)


def test_a_node_that_the_cluster_does_not_know_is_told() -> None:
    assert found(replace(state(), kube=None)) == ("node-1: it is not in the cluster",)


def test_a_node_that_is_not_ready_is_told() -> None:
    assert found(replace(state(), kube=replace(KUBE, ready=False))) == (
        "node-1: the cluster says that it is not Ready",
    )


def test_no_server_that_tells_is_told() -> None:
    assert wrongs([replace(state(), kube=None)], NOW, asked_cluster=False) == (
        "cluster: no server could be asked for its nodes",
    )


def test_a_node_without_k3s_is_not_asked_for_it() -> None:
    assert wrongs([replace(state("", **{"unit.ActiveState": "inactive"}), kube=None)], NOW, asked_cluster=False) == ()


def test_two_nodes_with_one_machine_id_are_told() -> None:
    other = State("node-2", "server", facts=Facts({**WELL, "hostname": "node-2"}), kube=replace(KUBE, name="node-2"))
    assert found(state(), other) == ("node-2: it has the machine-id of node-1: a copied card, or one machine twice",)


ANOTHER = "node-1: the cluster has another machine under its name ("


@pytest.mark.parametrize(
    ("known", "told", "wrong"),
    [
        ({"machine": "2" * 32}, {}, f"{ANOTHER}machine-id {'2' * 32}, here {'1' * 32})"),
        ({"boot": "b-2"}, {}, f"{ANOTHER}start b-2, here b-1)"),
        ({"machine": "1" * 32, "boot": "b-1"}, {}, ""),
        # It has only just started, so the cluster may not know yet.
        ({"boot": "b-2"}, {"uptime": "60"}, ""),
        ({"boot": "b-2"}, {"uptime": ""}, ""),
        ({"boot": "b-2"}, {"boot_id": ""}, ""),
    ],
)
def test_another_machine_under_a_nodes_name_is_told(known: dict[str, str], told: dict[str, str], wrong: str) -> None:
    one = replace(state(**{"uptime": "4000", "boot_id": "b-1", **told}), kube=replace(KUBE, **known))
    assert [line.partition(": a second card")[0] for line in found(one)] == ([wrong] if wrong else [])


@pytest.mark.parametrize(("days", "word"), [(20, "ends"), (1, "has ended")])
def test_a_certificate_that_ends_soon_is_told_with_what_renews_it(days: int, word: str) -> None:
    text = "\n".join(["node_status=1", f"certificate.agent/client.crt={certificate(days)}", "end=1"])
    facts = replace(state().facts or Facts({}), certificates=read_facts(text.encode(), "node-1").certificates)
    (told,) = found(replace(state(), facts=facts))
    assert told.startswith(f"node-1: the certificate agent/client.crt {word} on 2026-")
    assert "restart k3s.service" in told


def test_a_certificate_of_a_year_is_not_told() -> None:
    text = f"node_status=1\ncertificate.a.crt={certificate(365)}\nend=1\n"
    facts = replace(state().facts or Facts({}), certificates=read_facts(text.encode(), "node-1").certificates)
    assert facts.certificates
    assert found(replace(state(), facts=facts)) == ()


@pytest.mark.parametrize("value", ["", "!!", "AAAA", certificate(365)[:-8]])
def test_a_certificate_that_can_not_be_read_is_told_and_all_else_counts(value: str) -> None:
    text = f"node_status=1\ncertificate.a.crt={value}\ncertificate.b.crt={certificate(365)}\nhostname=x\nend=1\n"
    facts = read_facts(text.encode(), "node-1")
    assert (list(facts.certificates), facts.unreadable, facts.get("hostname")) == (["b.crt"], ("a.crt",), "x")
    (told,) = found(replace(state(), facts=replace(facts, told=WELL)))
    assert told.startswith("node-1: the certificate a.crt can't be read")


@pytest.mark.parametrize("output", [b"", b"node_status=1\nhostname=x\n", b"hostname=x\nend=1\n"])
def test_an_answer_that_is_cut_off_or_foreign_is_refused(output: bytes) -> None:
    with pytest.raises(ContentMalformed) as caught:
        read_facts(output, "node-1")
    assert caught.value.where == "node-1"


def test_words_around_the_facts_are_passed_over() -> None:
    facts = read_facts(b"Welcome to node-1!\nnode_status=1\nhostname=a=b\nend=1\n", "node-1")
    assert facts.get("hostname") == "a=b"


def test_the_clusters_list_is_read() -> None:
    item = {
        "metadata": {
            "name": "node-1",
            "labels": {"node-role.kubernetes.io/etcd": "true"},
            "annotations": {"etcd.k3s.cattle.io/node-name": "node-1-1a2b"},
        },
        "spec": {"unschedulable": True},
        "status": {
            "nodeInfo": {"kubeletVersion": "v1.36.3+k3s1", "machineID": "1a", "bootID": "2b"},
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
        },
    }
    assert read_nodes(json.dumps({"items": [item]}).encode(), "node-1") == {
        "node-1": KubeNode("node-1", True, "v1.36.3+k3s1", True, "node-1-1a2b", False, "1a", "2b")
    }


@pytest.mark.parametrize("output", [b"", b"{}", b"[]", b'{"items": [{}]}', b'{"items": [1]}'])
def test_a_list_that_is_none_is_refused(output: bytes) -> None:
    with pytest.raises(ContentMalformed):
        read_nodes(output, "node-1")
