"""Secrets drawn anew and brought to a rack that runs: what its configuration holds then, and what nobody ever sees."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from remote.machines import SSHD, TOKEN
from remote.racks import Running, running_rack

from imagesmith.errors import Interrupted, NodeUnreachable, UsageError
from imagesmith.secret import Secret
from imagesmith.vault.index import read_index
from imagesmith.workflow.foreign import take
from imagesmith.workflow.rotate import rotate as in_the_vault
from imagesmith.workflow.rotation import apply
from imagesmith.workflow.vault import forget_founded, record_founded

pytestmark = [pytest.mark.skipif(not SSHD, reason="sshd is not installed"), pytest.mark.slow]
CONFIG = "etc/rancher/k3s/config.yaml"


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Running]:
    with running_rack(tmp_path) as found:
        yield found


def token(rack: Running, name: str, key: str) -> str:
    lines = rack.machines[name].file(CONFIG).read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{key}:")).partition(": ")[2].strip('"')


def rotate(rack: Running, name: str, *, yes: bool = True, again: bool = False) -> tuple[str, ...]:
    return apply(rack.rack, name, rack.opening, rack.agree(yes), again=again)


def test_the_agents_token_is_new_everywhere_and_shown_nowhere(rack: Running) -> None:
    servers = token(rack, "s-1", "token")
    rotate(rack, "cluster/agent-token")
    new = rack.secret("cluster/agent-token")
    assert token(rack, "s-1", "agent-token") == token(rack, "s-2", "agent-token") == f"{TOKEN}node:{new}"
    assert token(rack, "a-1", "token") == f"{TOKEN}node:{new}"
    assert token(rack, "s-1", "token") == servers
    assert rack.calls("restart") == [
        "s-1: systemctl restart k3s.service",
        "s-2: systemctl restart k3s.service",
        "a-1: systemctl restart k3s-agent.service",
    ]
    assert new not in "".join([*rack.calls(""), *rack.shown])
    for machine in rack.machines.values():
        assert machine.file(CONFIG).stat().st_mode & 0o777 == 0o600


def test_what_stopped_goes_on_with_the_same_token(rack: Running) -> None:
    rack.machines["s-2"].write("fails-to-start", "")
    with pytest.raises(NodeUnreachable):
        rotate(rack, "cluster/agent-token")
    new = rack.secret("cluster/agent-token")
    assert new not in token(rack, "a-1", "token")
    rack.machines["s-2"].file("fails-to-start").unlink()
    rotate(rack, "cluster/agent-token", again=True)
    assert rack.secret("cluster/agent-token") == new
    assert token(rack, "a-1", "token") == f"{TOKEN}node:{new}"


@pytest.mark.parametrize("name", ["cluster/agent-token", "cluster/service-account-key", "cluster/ca/etcd-peer"])
def test_nothing_is_drawn_once_more_until_all_nodes_have_it(rack: Running, name: str) -> None:
    rack.machines["s-2"].write("fails-to-start", "")
    with pytest.raises(NodeUnreachable) as stopped:
        rotate(rack, name)
    assert "--resume" in stopped.value.hint
    new, before = rack.secret(name), rack.secret(f"{name}.old")
    rack.machines["s-2"].file("fails-to-start").unlink()
    for draw in (lambda: rotate(rack, name), lambda: in_the_vault(rack.vault, name, rack.opening)):
        with pytest.raises(UsageError, match="not every node has it yet") as refused:
            draw()
        assert f"imagesmith vault rotate {name} --apply --resume" in refused.value.hint
    assert (rack.secret(name), rack.secret(f"{name}.old")) == (new, before)
    rotate(rack, name, again=True)
    rotate(rack, name)
    assert rack.secret(f"{name}.old") == new


def test_a_cluster_that_is_no_more_waits_for_no_secret(rack: Running) -> None:
    rack.machines["s-2"].write("fails-to-start", "")
    with pytest.raises(NodeUnreachable):
        rotate(rack, "cluster/agent-token")
    new = rack.secret("cluster/agent-token")
    forget_founded(rack.vault)
    in_the_vault(rack.vault, "cluster/agent-token", rack.opening)
    assert rack.secret("cluster/agent-token.old") == new


def test_a_servers_token_that_k3s_did_not_draw_is_drawn_by_what_goes_on(rack: Running) -> None:
    before = password(rack)
    rack.machines["s-1"].write("token-rotate-fails", "")
    with pytest.raises(NodeUnreachable):
        rotate(rack, "cluster/server-token")
    assert password(rack) == rack.secret("cluster/server-token") == before
    rack.machines["s-1"].file("token-rotate-fails").unlink()
    rotate(rack, "cluster/server-token", again=True)
    assert rack.secret("cluster/server-token") == password(rack) != before
    assert rack.secret("cluster/server-token.old") == before


def test_a_servers_token_that_k3s_drew_is_not_drawn_once_more(rack: Running) -> None:
    rack.machines["s-2"].write("fails-to-start", "")
    with pytest.raises(NodeUnreachable):
        rotate(rack, "cluster/server-token")
    new = password(rack)
    rack.machines["s-2"].file("fails-to-start").unlink()
    with pytest.raises(UsageError, match="not every node has it yet"):
        rotate(rack, "cluster/server-token")
    rotate(rack, "cluster/server-token", again=True)
    assert rack.secret("cluster/server-token") == password(rack) == new
    assert token(rack, "s-2", "token") == f"{TOKEN}server:{new}"


def test_nothing_is_drawn_where_a_node_is_away_or_nobody_agrees(rack: Running) -> None:
    before = rack.secret("cluster/agent-token")
    with pytest.raises(Interrupted):
        rotate(rack, "cluster/agent-token", yes=False)
    rack.machines["a-1"].write("sudo-asks", "")
    with pytest.raises(NodeUnreachable, match="nothing was changed"):
        rotate(rack, "cluster/agent-token")
    assert rack.secret("cluster/agent-token") == before
    assert rack.calls("restart") == []


def test_the_servers_token_is_drawn_by_k3s_and_kept_by_the_vault(rack: Running) -> None:
    before = password(rack)
    rotate(rack, "cluster/server-token")
    new = rack.secret("cluster/server-token")
    assert password(rack) == new
    assert f"{TOKEN}server:{new}" == token(rack, "s-1", "token") == token(rack, "s-2", "token")
    assert rack.secret("cluster/server-token.old") == before != new
    assert rack.calls("token rotate") == ["s-1: k3s token rotate"]
    assert rack.calls("k3s-agent") == []


def test_a_servers_token_that_the_vault_drew_alone_is_followed_by_k3ss_own(rack: Running) -> None:
    before = password(rack)
    take(rack.vault, "cluster/server-token", Secret(before.encode()), "test", replace=True)
    in_the_vault(rack.vault, "cluster/server-token", rack.opening)
    rotate(rack, "cluster/server-token", again=True)
    assert rack.secret("cluster/server-token") == password(rack) != before
    assert rack.secret("cluster/server-token.old") == before
    rotate(rack, "cluster/server-token", again=True)
    assert rack.secret("cluster/server-token.old") == before
    assert rack.calls("token rotate") == ["s-1: k3s token rotate"]


def test_a_servers_token_that_k3s_drew_and_nobody_kept_is_adopted(rack: Running) -> None:
    lost = "f" * 32
    rack.machines["s-1"].write("var/lib/rancher/k3s/server/token", f"{TOKEN}server:{lost}\n")
    rotate(rack, "cluster/server-token", again=True)
    assert rack.secret("cluster/server-token") == lost
    assert token(rack, "s-2", "token") == f"{TOKEN}server:{lost}"
    assert rack.calls("token rotate") == []


def password(rack: Running) -> str:
    """Of the server token, as the cluster has it."""
    return rack.machines["s-1"].file("var/lib/rancher/k3s/server/token").read_text().strip().rpartition(":")[2]


def test_an_authority_is_renewed_under_the_same_root_by_k3s_itself(rack: Running) -> None:
    rotate(rack, "cluster/ca/etcd-peer")
    given = json.loads((rack.machines["s-1"].folder / "rotated-ca").read_text())
    assert sorted(given) == ["etcd/peer-ca.crt", "etcd/peer-ca.key"]
    assert given["etcd/peer-ca.key"] == rack.secret("cluster/ca/etcd-peer")
    chain = x509.load_pem_x509_certificates(given["etcd/peer-ca.crt"].encode())
    assert len(chain) == 3
    kept = read_index(rack.vault).secrets["cluster/ca/root"].public.encode()
    assert chain[-1] == x509.load_pem_x509_certificate(kept)
    assert not rack.machines["s-1"].file("var/lib/rancher/k3s/imagesmith-rotate").exists()
    key = "".join(given["etcd/peer-ca.key"].splitlines()[1:-1])
    assert key[:40] not in "".join([*rack.calls(""), *rack.shown])


def test_the_key_of_service_accounts_comes_with_the_one_before(rack: Running) -> None:
    before = rack.secret("cluster/service-account-key")
    rotate(rack, "cluster/service-account-key")
    given = json.loads((rack.machines["s-1"].folder / "rotated-ca").read_text())
    assert given == {"service.key": rack.secret("cluster/service-account-key") + before}


def test_the_key_that_the_cluster_signs_by_stays_whatever_the_vault_has(rack: Running) -> None:
    before = rack.secret("cluster/service-account-key")
    for _ in range(2):
        forget_founded(rack.vault)
        in_the_vault(rack.vault, "cluster/service-account-key", rack.opening)
    assert before not in (rack.secret("cluster/service-account-key"), rack.secret("cluster/service-account-key.old"))
    rotate(rack, "cluster/service-account-key", again=True)
    given = json.loads((rack.machines["s-1"].folder / "rotated-ca").read_text())
    assert given == {"service.key": rack.secret("cluster/service-account-key") + before}


def test_without_the_key_that_the_cluster_signs_by_none_is_drawn(rack: Running) -> None:
    before = rack.secret("cluster/service-account-key")
    rack.machines["s-1"].file("var/lib/rancher/k3s/server/tls/service.key").unlink()
    with pytest.raises(NodeUnreachable, match=r"service\.key"):
        rotate(rack, "cluster/service-account-key")
    assert rack.secret("cluster/service-account-key") == before
    assert not rack.fact("rotating cluster/service-account-key")


TO_NODES = ["cluster/agent-token", "cluster/server-token", "cluster/service-account-key", "nodes/a-1/host-key.ed25519"]


@pytest.mark.parametrize("name", TO_NODES)
def test_what_the_vault_alone_drew_is_not_drawn_once_more_until_the_nodes_have_it(rack: Running, name: str) -> None:
    record_founded(rack.vault, "2026-11-01T00:00:00Z")
    before = rack.secret(name)
    in_the_vault(rack.vault, name, rack.opening)
    for draw in (lambda: rotate(rack, name), lambda: in_the_vault(rack.vault, name, rack.opening)):
        with pytest.raises(UsageError, match="not every node has it yet") as refused:
            draw()
        assert f"imagesmith vault rotate {name} --apply --resume" in refused.value.hint
        assert f"imagesmith vault rotate {name} --done" in refused.value.hint
    assert rack.secret(f"{name}.old") == before
    sshd_shows_what_is_in_etc(rack, "a-1")
    rotate(rack, name, again=True)
    assert not rack.fact(f"rotating {name}")
    in_the_vault(rack.vault, name, rack.opening)


def test_a_host_key_that_came_in_part_is_none(rack: Running) -> None:
    own = rack.machines["a-1"].write("etc/ssh/ssh_host_ed25519_key", "as it was")
    rack.machines["a-1"].write("bad-card", "")
    with pytest.raises(NodeUnreachable, match="100 of"):
        rotate(rack, "nodes/a-1/host-key.ed25519")
    assert own.read_text() == "as it was"
    assert rack.calls("try-reload-or-restart") == []


def test_a_host_key_is_on_the_node_and_the_node_is_known_by_it(rack: Running) -> None:
    machine = rack.machines["a-1"]
    sshd_shows_what_is_in_etc(rack, "a-1")
    rotate(rack, "nodes/a-1/host-key.ed25519")
    own = machine.file("etc/ssh/ssh_host_ed25519_key")
    assert own.read_text() == rack.secret("nodes/a-1/host-key.ed25519")
    assert own.stat().st_mode & 0o777 == 0o600
    public = machine.file("etc/ssh/ssh_host_ed25519_key.pub")
    assert public.stat().st_mode & 0o777 == 0o644
    told = subprocess.run(["ssh-keygen", "-y", "-f", own], check=True, capture_output=True, text=True).stdout
    assert told.split()[:2] == public.read_text().split()[:2]
    assert rack.calls("try-reload-or-restart") == ["a-1: systemctl try-reload-or-restart ssh.service"]
    assert rack.calls("sshd -t") == ["a-1: sshd -t"]


def sshd_shows_what_is_in_etc(rack: Running, name: str) -> None:
    """A reload of the unit gives the new key to the sshd that runs, as a real one does by SIGHUP."""
    machine = rack.machines[name]
    machine.file("etc/ssh").mkdir()
    systemctl = machine.folder / "bin/systemctl"
    text = systemctl.read_text()
    reload = (
        'elif sys.argv[1] == "try-reload-or-restart":\n'
        "    import shutil, signal\n"
        '    shutil.copy(MACHINE / "etc/ssh/ssh_host_ed25519_key", MACHINE / "host")\n'
        '    os.kill(int((MACHINE / "sshd.pid").read_text()), signal.SIGHUP)\n'
    )
    systemctl.write_text(re.sub(r'(?=elif sys.argv\[1\] == "stop")', reload, text))
    # What checks a configuration here is the tests' own, where /etc/ssh is not.
    checker = machine.folder / "bin/sshd"
    checker.write_text("#!/bin/sh\nexit 0\n")
    checker.chmod(0o755)
