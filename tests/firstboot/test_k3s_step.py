"""The step 80-k3s: the kernel's share is in force, secrets are closed, and a node of no cluster is left alone."""

from __future__ import annotations

import pytest
from clustered import clustered
from node_folder import NodeFolder

TLS = "var/lib/rancher/k3s/server/tls"
CLOSED = (
    "etc/rancher/k3s/config.yaml",
    "etc/rancher/k3s/config.yaml.d/10-start.yaml",
    "etc/rancher/k3s/registries.yaml",
    "etc/rancher/node/password",
    "etc/systemd/system/k3s.service.env",
    f"{TLS}/server-ca.key",
    f"{TLS}/etcd/peer-ca.key",
)


def mode(node: NodeFolder, path: str) -> int:
    return (node.root / path).stat().st_mode & 0o777


def test_a_node_of_no_cluster_is_left_alone(node: NodeFolder) -> None:
    before = node.files()
    assert node.run("steps/80-k3s").returncode == 0
    assert (node.files(), node.calls) == (before, [])


@pytest.mark.parametrize("path", CLOSED)
def test_a_secret_that_lies_open_is_closed(node: NodeFolder, path: str) -> None:
    clustered(node)
    node.write(path, "x").chmod(0o644)
    assert node.run("steps/80-k3s").returncode == 0
    assert mode(node, path) == 0o600


@pytest.mark.parametrize("path", ["etc/rancher/node", "var/lib/rancher/k3s/server", TLS])
def test_a_folder_of_secrets_is_closed(node: NodeFolder, path: str) -> None:
    clustered(node)
    (node.root / path).mkdir(parents=True)
    (node.root / path).chmod(0o755)
    node.run("steps/80-k3s")
    assert mode(node, path) == 0o700


def test_modules_and_settings_are_put_in_force(node: NodeFolder) -> None:
    clustered(node).run("steps/80-k3s")
    assert [call for call in node.calls if call.startswith("systemctl")] == [
        "systemctl restart systemd-modules-load.service",
        "systemctl restart systemd-sysctl.service",
    ]


def test_a_kernel_without_a_module_is_told_and_stops_nothing(node: NodeFolder) -> None:
    clustered(node).stand_in("systemctl", "exit 1")
    done = node.run("steps/80-k3s")
    assert done.returncode == 0
    assert "lacks a module" in done.stdout


def test_a_second_run_changes_nothing_in_a_cluster(node: NodeFolder) -> None:
    clustered(node)
    node.run("steps/80-k3s")
    before = node.files()
    assert node.run("steps/80-k3s").returncode == 0
    assert node.files() == before
