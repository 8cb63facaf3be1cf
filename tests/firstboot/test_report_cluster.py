"""What a cluster's node tells a boot test: what k3s waits for, once that is settled, and secrets that lie open."""

from __future__ import annotations

import time

import pytest
from clustered import clustered
from node_folder import NodeFolder

STATUS = "var/lib/imagesmith/cluster/status"
TOKEN = f"token: K10{'0a' * 32}::node:5e7c\n"
KEY = "-----BEGIN EC {}-----\nMHc\n-----END EC {}-----\n".replace("{}", "PRIVATE KEY")


@pytest.fixture
def asked(node: NodeFolder) -> NodeFolder:
    clustered(node)
    node.configure(REPORT_PASSES="1", REPORT_PAUSE_S="0", CLOUD_INIT_WAIT_S="0", K3S_GATE_WAIT_S="2")
    node.write("run/credentials/@system/imagesmith.nonce", "n0nce")
    node.write("run/imagesmith/gate", "")
    node.write(STATUS, "state=starting\nwaits_for=nothing\nreason=\n")
    console = node.write("console", "")
    node.environment["IMAGESMITH_CONSOLE"] = str(console)
    script = node.library / "report"
    script.write_text(script.read_text().replace('>"$CONSOLE"', '>>"$CONSOLE"'))
    return node


def facts(node: NodeFolder) -> dict[str, str]:
    assert node.run("report").returncode == 0
    start = "IMAGESMITH n0nce "
    lines = [line.removeprefix(start) for line in node.read("console").splitlines() if line.startswith(start)]
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_what_the_gate_waits_for_is_told_with_its_reason(asked: NodeFolder) -> None:
    asked.write(STATUS, "state=waiting\nwaits_for=server\nreason=https://a:6443 does not answer\n")
    told = facts(asked)
    assert (told["k3s.waits_for"], told["k3s.state"]) == ("server", "waiting")
    assert told["k3s.reason"] == "https://a:6443 does not answer"


def test_the_gate_is_given_time_to_settle(asked: NodeFolder) -> None:
    asked.write(STATUS, "state=waiting\nwaits_for=clock\nreason=\n")
    text = "state=waiting\\nwaits_for=server\\nreason=\\n"
    asked.stand_in("sleep", f'printf "{text}" >"$ROOT/{STATUS}"')
    assert facts(asked)["k3s.waits_for"] == "server"


def test_what_an_earlier_boot_left_is_not_taken_for_this_ones(asked: NodeFolder) -> None:
    (asked.root / "run/imagesmith/gate").unlink()
    asked.stand_in("sleep", f'mkdir -p "$ROOT/run/imagesmith"; : >"$ROOT/run/imagesmith/gate"; echo >"$ROOT/{STATUS}"')
    assert facts(asked)["k3s.waits_for"] == ""


def test_a_gate_that_does_not_settle_holds_the_report_up_for_a_while_only(asked: NodeFolder) -> None:
    asked.write(STATUS, "state=waiting\nwaits_for=name\nreason=\n")
    begun = time.monotonic()
    assert facts(asked)["k3s.waits_for"] == "name"
    assert time.monotonic() - begun < 30


def test_a_node_of_no_cluster_waits_for_no_gate_and_tells_nothing_of_k3s(asked: NodeFolder) -> None:
    (asked.root / "etc/imagesmith/cluster.conf").unlink()
    (asked.root / "run/imagesmith/gate").unlink()
    assert not [name for name in facts(asked) if "k3s" in name and not name.startswith("step.")]
    assert not [call for call in asked.calls if call == "sleep 1"]


def test_units_of_both_kinds_are_told(asked: NodeFolder) -> None:
    asked.stand_in("systemctl", "echo activating")
    told = facts(asked)
    assert (told["unit.k3s.service"], told["unit.k3s-agent.service"]) == ("activating", "activating")


@pytest.mark.parametrize("content", [TOKEN, KEY])
@pytest.mark.parametrize(
    "path",
    ["etc/rancher/k3s/a", "var/lib/rancher/k3s/b", "etc/imagesmith/c", "var/lib/imagesmith/d", "boot/firmware/e"],
)
def test_a_secret_that_everybody_can_read_is_counted(asked: NodeFolder, path: str, content: str) -> None:
    asked.write(path, content).chmod(0o644)
    assert facts(asked)["open_secrets"] == "1"


def test_a_secret_of_roots_alone_is_not(asked: NodeFolder) -> None:
    asked.write("etc/rancher/k3s/config.yaml", TOKEN).chmod(0o600)
    asked.write("var/lib/rancher/k3s/server/tls/a.key", KEY).chmod(0o644)
    (asked.root / "var/lib/rancher/k3s/server/tls").chmod(0o700)
    assert facts(asked)["open_secrets"] == "0"


def test_a_program_that_knows_what_keys_look_like_holds_none(asked: NodeFolder) -> None:
    path = asked.write("var/lib/rancher/k3s/data/k3s", "")
    path.write_bytes(b"\x7fELF\0\0" + KEY.encode())
    path.chmod(0o755)
    assert facts(asked)["open_secrets"] == "0"
