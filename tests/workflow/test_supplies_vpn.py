"""A package that no system's archive has: from its publisher's signed archive or from a file, pinned as all are."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from building import Workshop
from image.made_disks import Disk, tool
from publishers.debs import SUITE, installed, make_deb, publish, serving
from publishers.houses import Key

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt")
INVENTORY = """\
schema: 1
name: home
k3s: {file: {arm64: k3s-own}}
network: {firewall: false}
upkeep: {PACKAGES, serve_time: false}
vpn: {zerotier: {network: 8056c2e21c000001FILE}}
nodes:
  - {name: node-1, profile: mine, role: server, address: 192.168.1.10/24}
"""
HAS = installed("arm64", "openssl", "iputils-arping")
SYSTEM = f'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME={SUITE}\n'
CARRIED = "/var/lib/imagesmith/packages/zerotier-one_1.16.2_arm64.deb"


def put(shop: Workshop, path: str, content: bytes) -> None:
    """Write a file into the base's root, with its folders."""
    local, place = shop.folder / "to-put", f"{shop.base}?offset={shop.disk.offsets['root']}"
    local.write_bytes(content)
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts)):
        tool("debugfs", "-w", "-R", f"mkdir /{'/'.join(parts[:depth])}", place)
    tool("debugfs", "-w", "-R", f"rm {path}", place)
    tool("debugfs", "-w", "-R", f"write {local} {path}", place)


def write(shop: Workshop, packages: str = "packages: offline", file: str = "") -> None:
    shop.inventory(INVENTORY.replace("PACKAGES", packages).replace("FILE", file))


@pytest.fixture
def rack(shop: Workshop, key: Key, tmp_path: Path) -> Iterator[Workshop]:
    """The base's own archive at 127.0.0.1 has `dep`, and a zerotier-one of its own; the publisher's is at localhost."""
    shop.env |= {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    (shop.folder / "k3s-own").write_bytes(b"#!/bin/sh\n")
    own, theirs, made = tmp_path / "own", tmp_path / "theirs", tmp_path / "made"
    made.mkdir()
    dep = make_deb(made, "dep", "2.0", architecture="arm64")
    publish(own, key, dep)
    newer = make_deb(made, "dep", "9.0", architecture="arm64")
    zerotier = make_deb(made, "zerotier-one", "1.16.2", "Depends: dep", architecture="arm64")
    publish(theirs, key, newer, zerotier)
    with serving(own) as url, serving(theirs) as other:
        put(shop, "/etc/os-release", SYSTEM.encode())
        put(shop, "/var/lib/dpkg/status", HAS.encode())
        put(shop, "/etc/apt/sources.list", f"deb [signed-by=/usr/share/keyrings/own.gpg] {url} {SUITE} main\n".encode())
        put(shop, "/usr/share/keyrings/own.gpg", key.signer.export(key.fingerprint))
        folder = shop.folder / "profiles/packages"
        folder.mkdir(parents=True)
        archive = {
            "schema": 1, "package": "zerotier-one", "url": other.rstrip("/").replace("127.0.0.1", "localhost"),
            "suite": "{codename}", "components": ["main"], "key": "https://127.0.0.1:1/key.gpg",
            "fingerprints": [key.fingerprint],
        }  # fmt: skip
        (folder / "zerotier-one.yaml").write_text(yaml.safe_dump(archive))
        write(shop)
        assert shop.run("vault", "create", "--key", "rack.key").code == 0
        yield shop


@pytest.fixture
def published(rack: Workshop, key: Key, server) -> Workshop:  # type: ignore[no-untyped-def]
    """The publisher's key, where profiles/packages says that it is."""
    server.forget()
    server.file("/key.gpg", key.signer.export(key.fingerprint))
    path = rack.folder / "profiles/packages/zerotier-one.yaml"
    path.write_text(path.read_text().replace("https://127.0.0.1:1/key.gpg", server.url("/key.gpg")))
    rack.env["REQUESTS_CA_BUNDLE"] = str(server.ca)
    return rack


def build(shop: Workshop) -> Disk:
    shop.build("node-1", "--compress", "none", "--vault-key", "rack.key")
    return Disk(shop.out / "node-1/node-1.img", dict(shop.disk.offsets), dict(shop.disk.sizes))


def inside(disk: Disk, path: str, to: Path) -> bytes:
    to.unlink(missing_ok=True)
    disk.on_ext4(f'dump "{path}" {to}')
    return to.read_bytes()


def pinned(shop: Workshop) -> dict[str, str]:
    (found,) = yaml.safe_load((shop.folder / "imagesmith.lock").read_text())["packages"]["rpi4/small"]
    return {one["name"]: one["version"] for one in found["packages"]}


def test_it_is_carried_and_pinned_and_what_it_needs_is_the_systems_own(published: Workshop, tmp_path: Path) -> None:
    deb = tmp_path / "made/zerotier-one_1.16.2_arm64.deb"
    assert inside(build(published), CARRIED, published.folder / "got") == deb.read_bytes()
    assert pinned(published) == {"dep": "2.0", "zerotier-one": "1.16.2"}


def test_it_is_carried_too_where_all_else_is_fetched_by_the_node(published: Workshop) -> None:
    write(published, "packages: online")
    build(published)
    assert "zerotier-one" in pinned(published)


def test_a_key_of_another_fingerprint_is_refused(published: Workshop) -> None:
    path = published.folder / "profiles/packages/zerotier-one.yaml"
    plain = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**plain, "fingerprints": ["0" * 40]}))
    published.refused(4, "key", words=("build", "node-1", "--vault-key", "rack.key"))


def test_an_archive_at_the_systems_own_host_is_refused(published: Workshop) -> None:
    """Else apt would take nothing at all from the system's own archive, and say that dep can't be installed."""
    path = published.folder / "profiles/packages/zerotier-one.yaml"
    path.write_text(path.read_text().replace("http://localhost:", "http://127.0.0.1:"))
    words = ("build", "node-1", "--vault-key", "rack.key")
    published.refused(4, "is at 127.0.0.1, where the system's own is too", "profiles/packages", words=words)


def test_a_file_takes_its_place_and_what_it_needs_is_found(rack: Workshop, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "made/zerotier-one_1.16.2_arm64.deb", rack.folder / "own.deb")
    write(rack, file=", file: {arm64: own.deb}")
    assert hashlib.sha256(inside(build(rack), CARRIED, rack.folder / "got")).digest() == (
        hashlib.sha256((rack.folder / "own.deb").read_bytes()).digest()
    )
    assert pinned(rack) == {"dep": "2.0"}


@pytest.mark.parametrize(("name", "told"), [("dep_2.0_arm64.deb", "it is dep for arm64"), ("k3s", "no Debian package")])
def test_a_file_that_is_another_package_is_refused(rack: Workshop, tmp_path: Path, name: str, told: str) -> None:
    source = tmp_path / "made" / name
    (rack.folder / "own.deb").write_bytes(source.read_bytes() if source.exists() else b"ELF")
    write(rack, file=", file: {arm64: own.deb}")
    rack.refused(2, told, "zerotier-one for arm64", words=("plan", "node-1"))


def test_a_file_that_is_not_there_is_told(rack: Workshop) -> None:
    write(rack, file=", file: {arm64: away.deb}")
    rack.refused(2, "there is no such file", words=("plan", "node-1"))
