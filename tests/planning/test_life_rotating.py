"""What a running cluster needs for each secret that was drawn anew; how a token is changed in k3s's configuration."""

from __future__ import annotations

import pytest
import yaml

from imagesmith.errors import UsageError
from imagesmith.planning import rotating
from imagesmith.planning.life import Change, Run, Step, shown

DUTIES = {"a-1": "agent", "s-1": "founder", "s-2": "server"}
HASH = "ab" * 32
OLD, NEW = "1" * 64, "2" * 64
CONFIG = f"""\
# k3s of node-1
token: "K10{HASH}::server:{OLD}"
agent-token: "K10{HASH}::node:{OLD}"
tls-san: ["10.0.0.1"]
"""


def changed(steps: tuple[Step, ...]) -> list[tuple[str, str]]:
    return [(step.node, step.key) for step in steps if isinstance(step, Change)]


def restarted(steps: tuple[Step, ...]) -> list[str]:
    return [step.node for step in steps if isinstance(step, Run) and step.argv[:2] == ("systemctl", "restart")]


def test_the_agents_token_goes_to_every_server_before_any_agent() -> None:
    steps = rotating.agent_token(DUTIES)
    assert changed(steps) == [("s-1", "agent-token"), ("s-2", "agent-token"), ("a-1", "token")]
    assert restarted(steps) == ["s-1", "s-2", "a-1"]


def test_the_servers_token_goes_to_no_agent() -> None:
    steps = rotating.server_token(DUTIES)
    assert changed(steps) == [("s-1", "token"), ("s-2", "token")]
    assert restarted(steps) == ["s-1", "s-2"]


def test_every_server_has_the_new_token_before_one_is_restarted() -> None:
    steps = rotating.server_token(DUTIES)
    kinds = [isinstance(step, Change) for step in steps]
    assert kinds == sorted(kinds, reverse=True)


def test_the_new_token_is_among_no_words_of_a_program() -> None:
    assert rotating.ask_for_server_token("s-1").argv == ("k3s", "token", "rotate")


def test_authorities_are_staged_apart_and_checked_by_k3s() -> None:
    steps = rotating.authorities(DUTIES, ("etcd/peer-ca.crt", "etcd/peer-ca.key"))
    lines = [shown(step) for step in steps]
    assert any("k3s certificate rotate-ca --path=/var/lib/rancher/k3s/imagesmith-rotate" in line for line in lines)
    assert "--force" not in "".join(lines)
    assert all("/server/tls" not in " ".join(step.argv) for step in steps if isinstance(step, Run))
    assert lines[-1].startswith("s-1: wait until a-1 is Ready")
    assert restarted(steps) == ["s-1", "s-2", "a-1"]


def test_a_host_key_is_checked_by_sshd_before_it_is_read() -> None:
    doing = [step.doing for step in rotating.host_key("a-1", "ed25519", dropbear=False) if isinstance(step, Run)]
    assert doing[-3:] == ["let sshd check its configuration", "let sshd read it", "wait until it answers again"]


def test_a_host_key_goes_to_dropbear_where_there_is_one() -> None:
    step = "a-1: let Dropbear have it too (/usr/lib/imagesmith/steps/62-access)"
    assert step in [shown(one) for one in rotating.host_key("a-1", "ed25519", dropbear=True)]
    assert step not in [shown(one) for one in rotating.host_key("a-1", "ed25519", dropbear=False)]


@pytest.mark.parametrize(("key", "user"), [("token", "server"), ("agent-token", "node")])
def test_only_the_password_under_the_key_changes(key: str, user: str) -> None:
    after = rotating.with_password(CONFIG.encode(), key, NEW.encode(), "here").decode()
    read = yaml.safe_load(after)
    assert read.pop(key) == f"K10{HASH}::{user}:{NEW}"
    before = yaml.safe_load(CONFIG)
    del before[key]
    assert read == before
    assert after.startswith("# k3s of node-1\n")


@pytest.mark.parametrize(
    ("line", "after"),
    [
        (f"token: {OLD}\n", f"token: {NEW}\n"),
        (f"token: '{OLD}'\n", f"token: '{NEW}'\n"),
        (
            f"server: https://x\ntoken:   K10{HASH}::node:{OLD}\n",
            f"server: https://x\ntoken:   K10{HASH}::node:{NEW}\n",
        ),
    ],
)
def test_a_token_keeps_its_form(line: str, after: str) -> None:
    assert rotating.with_password(line.encode(), "token", NEW.encode(), "here").decode() == after


def test_changing_it_twice_is_changing_it_once() -> None:
    once = rotating.with_password(CONFIG.encode(), "token", NEW.encode(), "here")
    assert rotating.with_password(once, "token", NEW.encode(), "here") == once


@pytest.mark.parametrize(
    "config", ["", "server: x\n", f"token: {OLD}\ntoken: {OLD}\n", "token: [a]\n  b\n# token: x\n\n"[9:]]
)
def test_a_configuration_without_the_one_line_is_refused(config: str) -> None:
    with pytest.raises(UsageError):
        rotating.with_password(config.encode(), "token", NEW.encode(), "here")


def test_a_password_that_yaml_would_read_as_more_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        rotating.with_password(CONFIG.encode(), "token", b'a"b: {c', "here")
    assert 'a"b' not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cluster/agent-token", "agent-token"),
        ("cluster/server-token", "server-token"),
        ("cluster/ca/etcd-peer", "leaf"),
        ("cluster/service-account-key", "service-key"),
        ("nodes/node-1/host-key.ecdsa", "host-key"),
    ],
)
def test_every_name_has_its_kind(name: str, kind: str) -> None:
    assert rotating.kind_of(name) == kind


@pytest.mark.parametrize("name", ["cluster/ca/root", "cluster/ca/intermediate", "nodes/x/node-password", "wifi"])
def test_what_is_not_changed_in_a_running_cluster_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        rotating.kind_of(name)
