"""The vault's host keys built into a stand-in of every vendor's image: there, closed, left alone by its first boot."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from families.vendor_images import VENDORS, VendorImage, shop_of
from standins.looking import complaints, outside

from imagesmith.secret import Secret
from imagesmith.vault import sealing, store
from imagesmith.vault.index import Entry, read_index

INVENTORY = """\
schema: 1
name: home
nodes:
  - {name: node-1, profile: mine}
"""
KINDS = ("ed25519", "ecdsa")
MAKER = "/usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys"


class Built(VendorImage):
    def entry(self, kind: str) -> Entry:
        return read_index(self.shop.folder / "cluster.vault").secrets[f"nodes/node-1/host-key.{kind}"]

    def private(self, kind: str) -> str:
        key = Secret((self.shop.folder / "rack.key").read_bytes().strip())
        opened = store.open_by_key(self.shop.folder / "cluster.vault", sealing.identity_in(key, ""))
        return opened.open(f"nodes/node-1/host-key.{kind}").reveal().decode()


@pytest.fixture(scope="module", params=VENDORS, ids=lambda vendor: vendor.family)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    shop = shop_of(request.param, INVENTORY, tmp_path_factory)
    assert shop.run("vault", "create", "--key", "rack.key").code == 0
    shop.build("node-1", "--ssh-key", "key.pub", "--vault-key", "rack.key")
    return Built(request.param, shop)


@pytest.mark.parametrize("kind", KINDS)
def test_both_halves_lie_where_sshd_looks_with_the_modes_that_it_wants(built: Built, kind: str) -> None:
    path = f"/etc/ssh/ssh_host_{kind}_key"
    assert built.private(kind) in built.root(f"cat {path}")
    assert built.entry(kind).public in built.root(f"cat {path}.pub")
    for one, mode in ((path, "0600"), (f"{path}.pub", "0644")):
        about = built.root(f"stat {one}")
        assert f"Mode:  {mode}" in about
        assert re.search(r"User: +0 +Group: +0 ", about)


@pytest.mark.parametrize("kind", KINDS)
def test_ssh_keygen_reads_the_key_and_knows_it_by_its_fingerprint(built: Built, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    built.root(f"dump /etc/ssh/ssh_host_{kind}_key {path}")
    path.chmod(0o600)
    public = subprocess.run(["ssh-keygen", "-y", "-f", path], check=True, capture_output=True, text=True).stdout
    assert public.split()[:2] == built.entry(kind).public.split()[:2]
    (tmp_path / "pub").write_text(public)
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "pub"], check=True, capture_output=True, text=True).stdout
    assert built.entry(kind).fingerprint in shown


def test_nothing_at_the_first_boot_removes_them_or_makes_others(built: Built) -> None:
    match built.vendor.family:
        case "armbian":
            assert '"/dev/null"' in built.root("stat /etc/systemd/system/armbian-firstrun.service")
        case "raspios-cloudinit":
            assert '"/dev/null"' in built.root("stat /etc/systemd/system/regenerate_ssh_host_keys.service")
            assert "ssh_deletekeys: false" in built.root("cat /etc/cloud/cloud.cfg.d/90-imagesmith.cfg")
        case "raspios-legacy":
            # The image's firstboot calls it by this path, without asking systemd.
            assert '"/dev/null"' in built.root("stat /etc/systemd/system/regenerate_ssh_host_keys.service")
            assert "Mode:  0755" in built.root(f"stat {MAKER}")
        case _:
            settings = built.root("cat /etc/cloud/cloud.cfg.d/99-imagesmith.cfg")
            assert "ssh_deletekeys: false" in settings
            assert "ssh_deletekeys: true" not in settings
            assert "ssh_genkeytypes: [ed25519, ecdsa]" in settings


@pytest.mark.parametrize("built", VENDORS[:2], indirect=True, ids=lambda vendor: vendor.family)
def test_what_would_make_them_anew_on_a_pi_does_nothing(built: Built, tmp_path: Path) -> None:
    built.root(f"dump {MAKER} {tmp_path / 'maker'}")
    calls = tmp_path / "calls"
    argv = ["strace", "-f", "-e", "trace=execve,unlink,unlinkat,openat", "-o", calls, "sh", tmp_path / "maker"]
    assert subprocess.run(argv, check=False).returncode == 0
    assert "ssh" not in calls.read_text().replace(str(tmp_path), "")


def test_the_boot_test_asks_for_the_very_key(built: Built) -> None:
    manifest = built.shop.made("node-1")["node-1.manifest.json"].decode()
    assert built.entry("ed25519").fingerprint in manifest
    assert "OPENSSH PRIVATE KEY" not in manifest


def test_the_private_halves_are_on_the_root_and_nowhere_else(built: Built) -> None:
    data = built.image.path.read_bytes()
    start, size = built.image.offsets["root"], built.image.sizes["root"]
    secret = built.private("ed25519").splitlines()[3].encode()
    assert secret in data[start : start + size]
    assert secret not in data[:start] + data[start + size :]
    beside = [path for path in built.shop.folder.rglob("*") if path.is_file() and path != built.image.path]
    assert not any(secret in path.read_bytes() for path in beside)


def test_its_file_systems_are_clean_and_the_gaps_as_before(built: Built, tmp_path: Path) -> None:
    assert complaints(built.image, tmp_path) == []
    assert outside(built.image) == outside(built.shop.disk)


@pytest.mark.parametrize("built", VENDORS[5:], indirect=True, ids=lambda vendor: vendor.family)
def test_a_rebuilt_node_is_the_same_node_byte_for_byte(built: Built) -> None:
    before = built.shop.made("node-1")
    built.shop.build("node-1", "--ssh-key", "key.pub", "--vault-key", "rack.key")
    assert built.shop.made("node-1")["SHA256SUMS"] == before["SHA256SUMS"]


@pytest.mark.parametrize("built", VENDORS[5:], indirect=True, ids=lambda vendor: vendor.family)
def test_a_locked_vault_stops_a_build_before_anything_is_done(built: Built) -> None:
    done = built.shop.run("build", "node-1", "--output", "other")
    assert done.code == 12
    assert "--vault-key" in done.err
    assert not (built.shop.folder / "other").exists()
