"""The state of a rack that runs, over a real SSH: one machine after the other made ill, and told so."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from remote.machines import SSHD, keygen
from remote.racks import Running, running_rack

from imagesmith.errors import UsageError
from imagesmith.planning.health import State
from imagesmith.workflow.status import Status, status
from imagesmith.workflow.vault import forget_founded

pytestmark = pytest.mark.skipif(not SSHD, reason="sshd is not installed")


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_rack(tmp_path_factory.mktemp("rack")) as found:
        yield found


def ill(found: Status) -> list[str]:
    """What is wrong, but for clocks: nobody keeps that of a machine that tests run on."""
    return [line for line in found.wrong if "clock" not in line]


def state(found: Status, name: str) -> State:
    return next(one for one in found.states if one.node == name)


def test_a_rack_that_is_well(rack: Running) -> None:
    found = status(rack.rack)
    assert ill(found) == []
    assert [one.node for one in found.states] == ["s-1", "s-2", "a-1"]
    assert found.server == "s-1"
    for one in found.states:
        assert one.facts and one.kube
        assert one.facts.get("k3s_version") == one.kube.version == "v1.36.3+k3s1"
        assert one.facts.get("duty") == ("agent" if one.node == "a-1" else "server")


def test_a_cluster_that_was_seen_is_remembered_as_founded(rack: Running) -> None:
    status(rack.rack)
    assert rack.fact("founded").startswith("20")


@pytest.mark.parametrize(("of", "counts"), [("ab" * 32, False), ("", True)])
def test_a_cluster_of_other_authorities_than_the_vaults_is_not_remembered(rack: Running, of: str, counts: bool) -> None:
    forget_founded(rack.vault)
    conf = rack.machines["s-1"].file("etc/imagesmith/cluster.conf")
    before = conf.read_text()
    conf.write_text(f"{before}CLUSTER_CA_HASH='{of or rack.fact('ca_hash')}'\n")
    status(rack.rack)
    conf.write_text(before)
    assert bool(rack.fact("founded")) is counts


def test_only_those_that_were_named_are_asked_beside_a_server(rack: Running) -> None:
    before = rack.machines["s-2"].calls
    found = status(rack.rack, ["a-1"])
    assert [one.node for one in found.states] == ["a-1"]
    assert state(found, "a-1").kube
    assert rack.machines["s-2"].calls == before


def test_a_name_that_is_none_is_refused(rack: Running) -> None:
    with pytest.raises(UsageError, match="no node 'a-9'"):
        status(rack.rack, ["a-9"])


def test_certificates_are_told_with_their_end(rack: Running) -> None:
    folder = rack.machines["a-1"].folder / "var/lib/rancher/k3s/agent"
    folder.mkdir(parents=True)
    own = folder / "client-kubelet.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
         "-subj", "/CN=x", "-keyout", "/dev/null", "-out", own],
        check=True, capture_output=True,
    )  # fmt: skip
    # The authority comes after it in the file, and is not what is asked for.
    own.write_bytes(own.read_bytes() + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    found = status(rack.rack)
    own.unlink()
    facts = state(found, "a-1").facts
    assert facts and list(facts.certificates) == ["agent/client-kubelet.crt"]
    assert [line for line in ill(found) if line.startswith("a-1: the certificate agent/client-kubelet.crt ends on")]


@pytest.mark.parametrize(
    ("file", "content", "wrong"),
    [
        ("state", "failed", "s-2: k3s.service is failed"),
        ("var/lib/imagesmith/cluster/status", "waits_for=server\nreason=s-1 does not answer\n",
         "s-2: k3s waits for: server (s-1 does not answer)"),
        ("var/lib/imagesmith/status", "state=failed\nleft=1\nstep.80-k3s=failed\n",
         "s-2: its first boot is not done: 80-k3s"),
        ("proc/sys/kernel/hostname", "debian\n", "s-2: it calls itself debian"),
        ("sudo-asks", "", "s-2: sudo asks"),
    ],
)  # fmt: skip
def test_a_machine_that_is_ill_is_told_and_the_others_are_not(
    rack: Running, file: str, content: str, wrong: str
) -> None:
    path = rack.machines["s-2"].file(file)
    before = path.read_text() if path.exists() else None
    path.write_text(content)
    try:
        (told,) = ill(status(rack.rack))
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert told.startswith(wrong)


def test_a_node_that_the_cluster_finds_not_ready_is_told(rack: Running) -> None:
    (rack.cluster / "a-1.ready").write_text("False")
    found = status(rack.rack)
    (rack.cluster / "a-1.ready").unlink()
    assert ill(found) == ["a-1: the cluster says that it is not Ready"]


def test_a_server_that_does_not_tell_is_asked_around(rack: Running) -> None:
    rack.machines["s-1"].write("k3s-fails", "")
    found = status(rack.rack)
    rack.machines["s-1"].file("k3s-fails").unlink()
    assert found.server == "s-2"
    assert [line.partition(":")[0] for line in ill(found)] == ["s-1"]


def test_a_machine_with_a_foreign_host_key_is_told_and_asked_nothing(rack: Running, tmp_path: Path) -> None:
    from imagesmith.secret import Secret
    from imagesmith.workflow.foreign import take

    name, before = "nodes/a-1/host-key.ed25519", rack.machines["a-1"].calls
    take(rack.vault, name, Secret(keygen(tmp_path / "other").read_bytes()), "test", replace=True)
    found = status(rack.rack)
    own = Secret((rack.machines["a-1"].folder / "host").read_bytes())
    take(rack.vault, name, own, "test", replace=True)
    assert "does not have the host key that the vault keeps" in state(found, "a-1").silence
    assert rack.machines["a-1"].calls == before
    assert state(found, "s-1").facts


def test_slow_machines_are_waited_for_side_by_side(rack: Running) -> None:
    for machine in rack.machines.values():
        slow = machine.folder / "bin/df"
        slow.write_text("#!/bin/sh\nsleep 20\n")
        slow.chmod(0o755)
    begun = time.monotonic()
    found = status(rack.rack, limit_s=4)
    took = time.monotonic() - begun
    for machine in rack.machines.values():
        (machine.folder / "bin/df").unlink()
    assert ["it did not finish in 4 s" in one.silence for one in found.states] == [True, True, True]
    assert took < 10


def test_a_rack_without_k3s_has_no_cluster_to_be_asked(rack: Running) -> None:
    bare = replace(rack.rack, cluster=replace(rack.rack.cluster, k3s=None), duties=dict.fromkeys(rack.rack.duties, ""))
    found = status(bare)
    assert ill(found) == []
    assert all(one.kube is None for one in found.states)
