"""imagesmith-apply: runs steps again, starts k3s anew where what it reads has changed, and else leaves it alone."""

from __future__ import annotations

import subprocess

import pytest
from clustered import clustered
from node_folder import NodeFolder

CONFIG = "etc/rancher/k3s/config.yaml"


@pytest.fixture
def bare_cluster(bare: NodeFolder) -> NodeFolder:
    """A founder with two steps that note that they ran; k3s was started."""
    clustered(bare)
    bare.write(CONFIG, "token: x\n")
    bare.write("var/lib/rancher/k3s/server/tls/server-ca.key", "x\n")
    for step in ("10-first", "20-second"):
        bare.add_step(step, f'#!/bin/sh\necho {step} >>"$ROOT/ran"\n')
    bare.stand_in("id", "echo 0")
    bare.stand_in("systemctl", 'case "$*" in show*) echo inactive ;; esac')
    assert bare.run("k3s-start").returncode == 0
    assert bare.run("run").returncode == 0
    bare.write("ran", "")
    return bare


def apply(node: NodeFolder, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [node.library / "imagesmith-apply", *words],
        env=node.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ran(node: NodeFolder) -> list[str]:
    return node.read("ran").split()


def restarts(node: NodeFolder) -> list[str]:
    return [call for call in node.calls if call.startswith("systemctl") and "restart k3s" in call]


@pytest.mark.parametrize("word", ["20-second", "20", "second"])
def test_one_step_is_run_again(bare_cluster: NodeFolder, word: str) -> None:
    assert apply(bare_cluster, word).returncode == 0
    assert ran(bare_cluster) == ["20-second"]


def test_all_steps_are_run_again(bare_cluster: NodeFolder) -> None:
    assert apply(bare_cluster, "all").returncode == 0
    assert ran(bare_cluster) == ["10-first", "20-second"]


def test_a_second_run_changes_nothing(bare_cluster: NodeFolder) -> None:
    assert apply(bare_cluster, "all").returncode == 0
    log = "var/log/imagesmith/firstboot.log"
    before = {path: content for path, content in bare_cluster.files().items() if path not in ("ran", log)}
    assert apply(bare_cluster, "all").returncode == 0
    assert {path: content for path, content in bare_cluster.files().items() if path not in ("ran", log)} == before
    assert restarts(bare_cluster) == []


@pytest.mark.parametrize(
    "path",
    [CONFIG, "etc/rancher/k3s/registries.yaml", "etc/systemd/system/k3s.service.env", "etc/rancher/node/password"],
)
def test_k3s_is_started_anew_where_what_it_reads_has_changed(bare_cluster: NodeFolder, path: str) -> None:
    bare_cluster.write(path, "changed\n")
    assert apply(bare_cluster, "10").returncode == 0
    assert restarts(bare_cluster) == ["systemctl --no-block restart k3s.service"]


def test_k3s_that_was_never_started_is_left_to_its_gate(bare_cluster: NodeFolder) -> None:
    (bare_cluster.root / "var/lib/imagesmith/cluster/started").unlink()
    bare_cluster.write(CONFIG, "changed\n")
    assert apply(bare_cluster, "10").returncode == 0
    assert restarts(bare_cluster) == []


def test_an_agents_unit_is_the_agents(bare_cluster: NodeFolder) -> None:
    clustered(bare_cluster, CLUSTER_DUTY="agent")
    assert apply(bare_cluster, "10").returncode == 0
    assert restarts(bare_cluster) == ["systemctl --no-block restart k3s-agent.service"]


def test_a_step_that_fails_fails_it_and_leaves_k3s_alone(bare_cluster: NodeFolder) -> None:
    bare_cluster.add_step("20-second", "#!/bin/sh\nexit 1\n")
    bare_cluster.write(CONFIG, "changed\n")
    assert apply(bare_cluster, "second").returncode == 1
    assert restarts(bare_cluster) == []


def test_the_steps_are_listed_with_how_they_went(bare_cluster: NodeFolder) -> None:
    done = apply(bare_cluster, "--list")
    assert (done.returncode, done.stdout) == (0, "10-first done\n20-second done\n")
    assert ran(bare_cluster) == []


def test_without_a_word_it_tells_its_usage(bare_cluster: NodeFolder) -> None:
    done = apply(bare_cluster)
    assert done.returncode == 2
    assert "usage: imagesmith-apply all" in done.stdout
    assert apply(bare_cluster, "--help").returncode == 0
    assert ran(bare_cluster) == []


@pytest.mark.parametrize("word", ["30-third", "../run", "*", "--all", "1"])
def test_a_step_that_is_none_is_refused_before_any_is_run(bare_cluster: NodeFolder, word: str) -> None:
    done = apply(bare_cluster, "10-first", word)
    assert done.returncode == 2
    assert "there is no step" in done.stderr
    assert ran(bare_cluster) == []


def test_only_root_may(bare_cluster: NodeFolder) -> None:
    bare_cluster.stand_in("id", "echo 1000")
    done = apply(bare_cluster, "all")
    assert done.returncode == 1
    assert "sudo imagesmith-apply all" in done.stderr
    assert ran(bare_cluster) == []


def test_a_first_boot_at_work_is_not_disturbed(bare_cluster: NodeFolder) -> None:
    bare_cluster.stand_in("systemctl", "echo activating")
    done = apply(bare_cluster, "all")
    assert done.returncode == 1
    assert "still at work" in done.stderr
    assert ran(bare_cluster) == []
