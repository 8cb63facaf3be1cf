"""The inventories in examples/ are built as they are, every node on a stand-in of the image that its board starts from.

What nodes are given (k3s, packages) is published on loopback. A copy of the shipped profiles beside the inventory says
where all that comes from; families, facts, boards and roles are those that are shipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from building import Workshop, environment
from image.made_disks import Disk, tool
from publishers.debs import SUITE, installed, make_deb, publish, serving
from publishers.houses import Key
from publishers.k3s import RELEASES, offer, program
from publishers.server import Server
from standins.armbian import make_armbian
from standins.debian_generic import debian_generic
from standins.raspios import trixie

from imagesmith import resources

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
K3S = "v1.36.3+k3s1"
NODES = {
    "rack": {
        "rack-1": "debian-generic-amd64",
        "rack-2": "raspios-arm64",
        "rack-3": "raspios-arm64",
        "rack-4": "raspios-arm64",
        "rack-5": "armbian-bananapi-m5",
    },
    "rack-ha": {
        **dict.fromkeys(("ha-1", "ha-2", "ha-3"), "debian-generic-amd64"),
        **dict.fromkeys(("ha-4", "ha-5", "ha-6"), "raspios-arm64"),
    },
}
ARCHIVED = (
    "age", "chrony", "dropbear-bin", "nftables", "nut-client", "nut-server", "openssh-client", "sqlite3",
    "unattended-upgrades", "zstd",
)  # fmt: skip
"""What the archive has, and no base."""
AUTHORITY = "/var/lib/rancher/k3s/server/tls/server-ca.key"


class Built:
    """An example after `build --all`, with the disks of its nodes."""

    def __init__(self, shop: Workshop, nodes: Mapping[str, str], bases: Mapping[str, Disk]) -> None:
        self.shop, self.bases = shop, nodes
        self._disks = bases

    def root(self, node: str, command: str) -> str:
        made = self._disks[self.bases[node]]
        image = self.shop.out / node / f"{node}.img"
        return tool("debugfs", "-R", command, f"{image}?offset={made.offsets['root']}")

    def has(self, node: str, path: str) -> bool:
        return "Mode:" in self.root(node, f"stat {path}")

    def content(self, node: str, path: str) -> bytes:
        got = self.shop.folder / "got"
        got.unlink(missing_ok=True)
        self.root(node, f'dump "{path}" {got}')
        return got.read_bytes()


@pytest.fixture(scope="module")
def archive(signer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, bytes]]:
    """Its address, and the key that its lists are signed with."""
    if not shutil.which("apt-get"):
        pytest.skip("needs apt")
    key = Key(signer, signer.make("archive"))
    folder, made = tmp_path_factory.mktemp("archive"), tmp_path_factory.mktemp("made")
    publish(folder, key, *(make_deb(made, name, "3.5") for name in ARCHIVED))
    with serving(folder) as url:
        yield url, signer.export(key.fingerprint)


@pytest.fixture(scope="module")
def bases(archive: tuple[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Disk]:
    """The publishers' images, small: each with a dpkg status of its own, and an apt that asks the tests' archive."""
    url, ring = archive
    folder = tmp_path_factory.mktemp("bases")

    def apt(architecture: str) -> dict[str, bytes | str]:
        return {
            "/var/lib/dpkg/status": installed(architecture, "openssl", "iputils-arping"),
            "/etc/apt/sources.list": f"deb [signed-by=/usr/share/keyrings/own.gpg] {url} {SUITE} main\n",
            "/usr/share/keyrings/own.gpg": ring,
        }

    return {
        "debian-generic-amd64": debian_generic(folder / "debian.img", root=apt("amd64")),
        "raspios-arm64": trixie(folder / "raspios.img", root=apt("arm64")),
        "armbian-bananapi-m5": make_armbian(folder / "armbian.img", changes=apt("arm64")),
    }


@pytest.fixture(scope="module", params=NODES)
def built(
    request: pytest.FixtureRequest, bases: dict[str, Disk], listening: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Built:  # fmt: skip
    """The example, a copy of it, built whole."""
    folder = tmp_path_factory.mktemp("shop")
    trusting = {"REQUESTS_CA_BUNDLE": str(listening.ca), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    shop = Workshop(folder, bases["raspios-arm64"], environment(folder) | trusting)
    shutil.copy(EXAMPLES / f"{request.param}.yaml", folder / "cluster.yaml")
    shutil.copytree(resources.folder("profiles"), folder / "profiles")
    for name, disk in bases.items():
        document = folder / f"profiles/bases/{name}.yaml"
        own = yaml.safe_load(document.read_text()) | {"file": {"path": str(disk.path)}}
        document.write_text(yaml.safe_dump({word: value for word, value in own.items() if word != "http"}))
    listening.forget()
    offer(listening, K3S)
    (folder / "profiles/releases/k3s.yaml").write_text(RELEASES.format(url=listening.url("")))
    made = shop.run("vault", "create", "--key", "rack.key")
    assert made.code == 0, made.out + made.err
    shop.build("--all", "--compress", "none", "--vault-key", "rack.key")
    return Built(shop, NODES[request.param], bases)


def test_every_node_is_built_and_its_image_verified(built: Built) -> None:
    for node in built.bases:
        told = built.shop.run("verify", f"out/{node}/{node}.img")
        assert told.code == 0, told.out + told.err


def test_every_image_has_the_program_that_its_processor_runs(built: Built) -> None:
    for node, base in built.bases.items():
        architecture = "amd64" if base.endswith("amd64") else "arm64"
        assert built.content(node, "/usr/local/bin/k3s") == program(K3S, architecture)


def test_only_the_founder_has_the_authorities(built: Built) -> None:
    first = next(iter(built.bases))
    assert [node for node in built.bases if built.has(node, AUTHORITY)] == [first]


def test_no_two_nodes_have_one_host_key(built: Built) -> None:
    keys = {built.content(node, "/etc/ssh/ssh_host_ed25519_key") for node in built.bases}
    assert len(keys) == len(built.bases)


def test_what_a_base_lacks_is_carried(built: Built) -> None:
    for node in built.bases:
        carried = built.root(node, "ls -p /var/lib/imagesmith/packages")
        (wanted,) = (
            line.split("=")[1].strip("'").split()
            for line in built.content(node, "/etc/imagesmith/packages.conf").decode().splitlines()
            if line.startswith("PACKAGES=")
        )
        assert "dropbear-bin" in wanted
        for name in set(wanted) & set(ARCHIVED):
            assert f"{name}_3.5_all.deb" in carried


def test_the_second_build_asks_nobody_and_makes_the_same(built: Built, listening: Server) -> None:
    """What the first looked up is pinned; the vault has the secrets."""
    before = {node: (built.shop.out / node / "SHA256SUMS").read_text() for node in built.bases}
    listening.seen.clear()
    built.shop.build("--all", "--compress", "none", "--vault-key", "rack.key")
    assert {node: (built.shop.out / node / "SHA256SUMS").read_text() for node in built.bases} == before
    assert listening.seen == []
