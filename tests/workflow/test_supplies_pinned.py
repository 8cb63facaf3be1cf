"""From an inventory to an image with k3s and packages in it: looked up once, pinned, and the same from then on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from building import Workshop
from image.made_disks import Disk, tool
from publishers.debs import SUITE, installed, make_deb, publish, serving
from publishers.houses import Key
from publishers.k3s import RELEASES, offer, program
from publishers.server import Server

OLD, NEW = "v1.36.3+k3s1", "v1.36.10+k3s1"
INVENTORY = """\
schema: 1
name: home
k3s: {{channel: stable{k3s}}}
network: {{firewall: false}}
upkeep: {{packages: {packages}, serve_time: {chrony}}}
nodes:
  - {{name: node-1, profile: mine, role: server, address: 192.168.1.10/24}}
  - {{name: node-2, profile: mine}}
"""


@pytest.fixture
def rack(shop: Workshop, server: Server) -> Workshop:
    """An inventory of two nodes whose k3s is published on loopback, and a vault by a key file."""
    server.forget()
    offer(server, OLD)
    shop.env |= {"REQUESTS_CA_BUNDLE": str(server.ca), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    write(shop)
    (shop.folder / "profiles/releases").mkdir(parents=True)
    (shop.folder / "profiles/releases/k3s.yaml").write_text(RELEASES.format(url=server.url("")))
    assert shop.run("vault", "create", "--key", "rack.key").code == 0
    return shop


def write(shop: Workshop, k3s: str = "", packages: str = "online", chrony: str = "false") -> None:
    shop.inventory(INVENTORY.format(k3s=k3s, packages=packages, chrony=chrony))


def build(shop: Workshop, node: str = "node-2") -> Disk:
    shop.build(node, "--compress", "none", "--vault-key", "rack.key")
    return Disk(shop.out / node / f"{node}.img", dict(shop.disk.offsets), dict(shop.disk.sizes))


def inside(disk: Disk, path: str, to: Path) -> bytes:
    to.unlink(missing_ok=True)
    disk.on_ext4(f'dump "{path}" {to}')
    return to.read_bytes()


def locked(shop: Workshop) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((shop.folder / "imagesmith.lock").read_text())
    return found


# -- k3s ------------------------------------------------------------------------------------------


def test_the_first_build_looks_it_up_pins_it_and_puts_it(rack: Workshop) -> None:
    assert inside(build(rack), "/usr/local/bin/k3s", rack.folder / "got") == program(OLD)
    entry = locked(rack)["files"]["k3s/stable/arm64"]  # type: ignore[index]
    assert (entry["version"], entry["size"]) == (OLD, len(program(OLD)))
    assert entry["digest"] == f"sha256:{hashlib.sha256(program(OLD)).hexdigest()}"
    assert entry["unchecked"] is True


def test_the_second_build_asks_nobody(rack: Workshop, server: Server) -> None:
    first = build(rack).path.read_bytes()
    server.forget()
    offer(server, NEW)
    assert build(rack).path.read_bytes() == first
    assert server.seen == []


def test_another_node_has_the_version_that_is_pinned(rack: Workshop, server: Server) -> None:
    build(rack, "node-2")
    offer(server, NEW)
    assert inside(build(rack, "node-1"), "/usr/local/bin/k3s", rack.folder / "got") == program(OLD)


def test_images_that_are_wanted_later_are_of_the_version_that_is_pinned(rack: Workshop, server: Server) -> None:
    build(rack)
    offer(server, NEW)
    write(rack, ", airgap: true")
    got = inside(build(rack), "/var/lib/rancher/k3s/agent/images/images-arm64.tar.zst", rack.folder / "got")
    assert got == b"images of " + OLD.encode()


def test_after_fetch_a_build_needs_no_network(rack: Workshop, server: Server) -> None:
    done = rack.run("fetch", "node-2", "--json")
    assert done.result["supplies"][0]["name"] == f"k3s {OLD} for arm64"
    server.forget()
    assert inside(build(rack), "/usr/local/bin/k3s", rack.folder / "got") == program(OLD)
    assert server.seen == []


def test_a_plan_asks_nobody_and_says_what_will_be_looked_up(rack: Workshop, server: Server) -> None:
    told = rack.run("plan", "node-2")
    assert told.code == 0, told.err
    assert "Looked up and pinned by the first build" in told.out
    assert "k3s stable for arm64" in told.out
    assert rack.run("plan", "node-2", "--json").result["unresolved"] == ["k3s stable for arm64"]
    assert server.seen == []
    assert not (rack.folder / "imagesmith.lock").exists()


def test_once_it_is_pinned_the_plan_tells_it(rack: Workshop) -> None:
    build(rack)
    told = rack.run("plan", "node-2")
    assert f"k3s {OLD} for arm64, " in told.out
    assert "Looked up and pinned" not in told.out
    plan_id = rack.run("plan", "node-2", "--json").result["id"]
    assert json.loads((rack.out / "node-2/node-2.manifest.json").read_text())["plan_id"] == plan_id


def test_other_bytes_than_were_promised_are_refused_and_leave_nothing(rack: Workshop, server: Server) -> None:
    server.file("/download/v1.36.3%2Bk3s1/k3s-arm64", program(OLD)[:-1] + b"!")
    words = ("build", "node-2", "--vault-key", "rack.key")
    rack.refused(4, "its digest is", f"while getting k3s {OLD} for arm64", words=words)
    offer(server, OLD)
    assert inside(build(rack), "/usr/local/bin/k3s", rack.folder / "got") == program(OLD)


def test_a_publisher_who_is_away_is_told_and_nothing_is_pinned(rack: Workshop, server: Server) -> None:
    server.forget()
    rack.refused(
        3, "while looking up what node-2 needs", "channel: stable", words=("build", "node-2", "--vault-key", "rack.key")
    )
    assert not (rack.folder / "imagesmith.lock").exists()


# -- fetched by the node --------------------------------------------------------------------------


def test_delivered_by_download_the_image_has_the_address_and_the_digest(rack: Workshop, server: Server) -> None:
    write(rack, ", delivery: download")
    disk = build(rack)
    told = inside(disk, "/etc/imagesmith/downloads", rack.folder / "got").decode()
    digest = hashlib.sha256(program(OLD)).hexdigest()
    url = server.url("/download/v1.36.3%2Bk3s1/k3s-arm64")
    assert told == f"file sha256:{digest} {len(program(OLD))} 0755 /usr/local/bin/k3s {url}\n"
    assert "Mode:" not in disk.on_ext4("stat /usr/local/bin/k3s")
    assert "Mode:" in disk.on_ext4("stat /etc/imagesmith/downloads")


# -- update ---------------------------------------------------------------------------------------


def test_update_tells_the_new_version_and_the_next_build_has_it(rack: Workshop, server: Server) -> None:
    build(rack)
    offer(server, NEW)
    told = rack.run("update")
    assert told.code == 0, told.err
    assert "k3s/stable/arm64" in told.out
    assert f"- version        {OLD}\n  + version        {NEW}" in told.out
    assert inside(build(rack), "/usr/local/bin/k3s", rack.folder / "got") == program(NEW)


def test_update_fetches_no_program(rack: Workshop, server: Server) -> None:
    offer(server, NEW)
    rack.run("update")
    asked = [dict(headers).get("Range", "whole") for path, headers in server.seen if path.endswith("k3s-arm64")]
    assert asked == ["whole"], "its size is asked for, and no byte read"
    assert not list(rack.cache.glob("entries/files/*"))


def test_an_older_release_is_refused_until_it_is_meant(rack: Workshop, server: Server) -> None:
    offer(server, NEW)
    build(rack)
    offer(server, OLD)
    refused = rack.run("update")
    assert refused.code == 4
    assert "--allow-rollback k3s/stable/arm64" in refused.err
    assert locked(rack)["files"]["k3s/stable/arm64"]["version"] == NEW  # type: ignore[index]
    assert rack.run("update", "--allow-rollback", "k3s/stable/arm64").code == 0
    assert locked(rack)["files"]["k3s/stable/arm64"]["version"] == OLD  # type: ignore[index]


def test_other_bytes_of_the_same_release_are_refused(rack: Workshop, server: Server) -> None:
    build(rack)
    offer(server, OLD, b"\x7fELF something else")
    refused = rack.run("update")
    assert refused.code == 4
    assert f"its publisher has other bytes for {OLD}" in refused.err


# -- packages -------------------------------------------------------------------------------------


@pytest.fixture
def archive(rack: Workshop, key: Key, tmp_path: Path) -> Iterator[Path]:
    """The base's apt asks an archive on loopback, whose key it has; a server needs chrony."""
    if not shutil.which("apt-get"):
        pytest.skip("needs apt")
    folder = tmp_path / "archive"
    (tmp_path / "made").mkdir()
    debs = [
        make_deb(tmp_path / "made", "chrony", "4.6-1", "Depends: libnew", architecture="arm64"),
        make_deb(tmp_path / "made", "libnew", "2.0", architecture="arm64"),
    ]
    publish(folder, key, *debs)
    with serving(folder) as url:
        put(rack, "/var/lib/dpkg/status", installed("arm64", "openssl", "iputils-arping").encode())
        put(rack, "/etc/apt/sources.list", f"deb [signed-by=/usr/share/keyrings/own.gpg] {url} {SUITE} main\n".encode())
        put(rack, "/usr/share/keyrings/own.gpg", key.signer.export(key.fingerprint))
        write(rack, packages="offline", chrony="true")
        yield folder


def put(shop: Workshop, path: str, content: bytes) -> None:
    """Write a file into the base's root, with its folders."""
    local, place = shop.folder / "to-put", f"{shop.base}?offset={shop.disk.offsets['root']}"
    local.write_bytes(content)
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts)):
        tool("debugfs", "-w", "-R", f"mkdir /{'/'.join(parts[:depth])}", place)
    tool("debugfs", "-w", "-R", f"write {local} {path}", place)


def test_what_the_base_lacks_is_carried(rack: Workshop, archive: Path) -> None:
    disk = build(rack, "node-1")
    carried = "/var/lib/imagesmith/packages/chrony_4.6-1_arm64.deb"
    assert inside(disk, carried, rack.folder / "got") == (archive / "pool/chrony_4.6-1_arm64.deb").read_bytes()
    conf = inside(disk, "/etc/imagesmith/packages.conf", rack.folder / "got")
    assert conf == b"PACKAGES='chrony iputils-arping openssl'\nFROM='image'\n"


def test_they_are_pinned_with_the_bytes_of_the_base(rack: Workshop, archive: Path) -> None:
    build(rack, "node-1")
    (found,) = locked(rack)["packages"]["rpi4/small"]  # type: ignore[index]
    assert found["wanted"] == ["chrony", "iputils-arping", "openssl"]
    assert found["base"] == f"sha256:{hashlib.sha256(rack.base.read_bytes()).hexdigest()}"
    assert [one["name"] for one in found["packages"]] == ["chrony", "libnew"]


def test_they_are_told_in_the_bill_of_materials(rack: Workshop, archive: Path) -> None:
    build(rack, "node-1")
    manifest = json.loads((rack.out / "node-1/node-1.manifest.json").read_text())
    assert {"name": "libnew", "version": "2.0", "architecture": "arm64"} in manifest["packages"]
    assert "pkg:deb/debian/chrony@4.6-1?arch=arm64" in (rack.out / "node-1/node-1.spdx.json").read_text()


def test_what_is_pinned_and_cached_needs_no_archive(rack: Workshop, archive: Path) -> None:
    first = build(rack, "node-1").path.read_bytes()
    shutil.rmtree(archive)
    assert build(rack, "node-1").path.read_bytes() == first


def test_a_changed_base_is_looked_at_anew(rack: Workshop, archive: Path) -> None:
    build(rack, "node-1")
    has_it = installed("arm64", "openssl", "iputils-arping", "libnew")
    place = f"{rack.base}?offset={rack.disk.offsets['root']}"
    tool("debugfs", "-w", "-R", "rm /var/lib/dpkg/status", place)
    put(rack, "/var/lib/dpkg/status", has_it.encode())
    build(rack, "node-1")
    (found,) = locked(rack)["packages"]["rpi4/small"]  # type: ignore[index]
    assert [one["name"] for one in found["packages"]] == ["chrony"]


def test_a_package_that_was_altered_is_refused(rack: Workshop, archive: Path) -> None:
    deb = archive / "pool/chrony_4.6-1_arm64.deb"
    deb.write_bytes(deb.read_bytes()[:-1] + b"!")
    words = ("build", "node-1", "--vault-key", "rack.key")
    rack.refused(4, "its digest is", "while getting chrony 4.6-1 (arm64)", words=words)


def test_a_package_that_its_archive_dropped_is_told_with_the_way_out(rack: Workshop, archive: Path) -> None:
    assert rack.run("update").code == 0
    (archive / "pool/chrony_4.6-1_arm64.deb").unlink()
    words = ("build", "node-1", "--vault-key", "rack.key")
    rack.run("fetch", "node-2")
    rack.refused(3, "404", "imagesmith update", words=words)


def test_a_base_that_tells_nothing_of_its_packages_is_refused_with_what_to_write(rack: Workshop) -> None:
    write(rack, packages="offline", chrony="true")
    words = ("build", "node-1", "--vault-key", "rack.key")
    rack.refused(11, "/var/lib/dpkg/status", "packages: online", words=words)


def test_online_the_image_carries_none_and_names_them(rack: Workshop) -> None:
    write(rack, packages="online", chrony="true")
    disk = build(rack, "node-1")
    conf = inside(disk, "/etc/imagesmith/packages.conf", rack.folder / "got")
    assert conf == b"PACKAGES='chrony iputils-arping openssl'\nFROM='archive'\n"
    assert "packages" not in locked(rack) or not locked(rack)["packages"]


def test_update_tells_what_changed_of_packages(rack: Workshop, archive: Path, key: Key, tmp_path: Path) -> None:
    build(rack, "node-1")
    newer = make_deb(tmp_path / "made", "chrony", "4.7-1", architecture="arm64")
    publish(archive, key, newer)
    told = rack.run("update")
    assert told.code == 0, told.err
    assert "rpi4/small" in told.out
    assert "- chrony         4.6-1\n  + chrony         4.7-1" in told.out
    assert "- libnew         2.0\n  + libnew         nothing" in told.out
