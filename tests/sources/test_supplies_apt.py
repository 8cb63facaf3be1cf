"""What an image lacks of some packages, by the real apt: by its own sources, keys and state, and by no others."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from publishers.debs import SUITE, make_deb, publish, serving
from publishers.houses import Key

from imagesmith.errors import ContentMalformed, SignatureInvalid, SourceUnreachable, UsageError
from imagesmith.model import Digest
from imagesmith.sources import apt
from imagesmith.sources.lock import PinnedPackage

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt")
KEYRING = "/usr/share/keyrings/own.gpg"
INSTALLED = """\
Package: {name}
Status: install ok installed
Version: {version}
Architecture: {architecture}
Maintainer: x <x@example.org>
Description: made for a test

"""


@dataclass
class Archive:
    folder: Path
    url: str
    key: Key
    debs: dict[str, Path]

    def image(self, *installed: str, sources: str = "", key: bytes = b"") -> dict[str, bytes]:
        """The files of an image whose apt asks this archive; `installed` as `name=version/architecture`."""
        text = sources or f"deb [signed-by={KEYRING}] {self.url} {SUITE} main\n"
        status = ""
        for one in installed:
            name, _, rest = one.partition("=")
            version, _, architecture = rest.partition("/")
            status += INSTALLED.format(name=name, version=version, architecture=architecture)
        return {
            apt.STATUS: status.encode(),
            apt.LISTS: text.encode(),
            KEYRING: key or self.key.signer.export(self.key.fingerprint),
        }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, signer, publisher: str) -> Iterator[Archive]:  # type: ignore[no-untyped-def]
    made, folder = tmp_path_factory.mktemp("debs"), tmp_path_factory.mktemp("archive")
    debs = {
        "wanted": make_deb(made, "wanted", "1:2.0-1", "Depends: needed, lib", "Recommends: more", architecture="arm64"),
        "needed": make_deb(made, "needed", "3.0~rc1+b2"),
        "lib": make_deb(made, "lib", "1.0", architecture="arm64"),
        "more": make_deb(made, "more", architecture="arm64"),
        "foreign": make_deb(made, "wanted", "9.0", architecture="amd64"),
    }
    key = Key(signer, publisher)
    publish(folder, key, *debs.values())
    with serving(folder) as url:
        yield Archive(folder, url, key, debs)


@pytest.fixture
def archive(served: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return served


def names(found: tuple[PinnedPackage, ...]) -> list[str]:
    return [f"{one.name}={one.version}/{one.architecture}" for one in found]


# -- what is found --------------------------------------------------------------------------------


def test_it_is_what_is_wanted_and_what_that_needs_of_the_images_architecture(archive: Archive) -> None:
    found = apt.lacking(archive.image(), "arm64", ["wanted"])
    assert names(found) == ["lib=1.0/arm64", "needed=3.0~rc1+b2/all", "wanted=1:2.0-1/arm64"]


def test_each_is_pinned_by_address_size_and_digest(archive: Archive) -> None:
    wanted = apt.lacking(archive.image(), "arm64", ["wanted"])[-1]
    content = archive.debs["wanted"].read_bytes()
    assert (wanted.size, wanted.digest) == (len(content), Digest.of(content))
    assert wanted.url == f"{archive.url}pool/wanted_2.0-1_arm64.deb"
    assert wanted.file_name == "wanted_1%3a2.0-1_arm64.deb"


def test_what_is_installed_is_left_out_though_a_newer_one_is_there(archive: Archive) -> None:
    image = archive.image("lib=0.9/arm64", "needed=3.0/all")
    assert names(apt.lacking(image, "arm64", ["wanted", "lib"])) == ["wanted=1:2.0-1/arm64"]


def test_an_image_that_has_all_lacks_nothing(archive: Archive) -> None:
    image = archive.image("wanted=1.0/arm64", "needed=3.0/all", "lib=1.0/arm64")
    assert apt.lacking(image, "arm64", ["wanted"]) == ()


def test_both_formats_of_sources_mean_the_same(archive: Archive) -> None:
    stanza = f"Types: deb deb-src\nURIs: {archive.url}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n"
    image = archive.image() | {apt.LISTS: b"# nothing\n", "/etc/apt/sources.list.d/x.sources": stanza.encode()}
    assert apt.lacking(image, "arm64", ["wanted"]) == apt.lacking(archive.image(), "arm64", ["wanted"])


def test_a_list_of_mirrors_is_followed(archive: Archive) -> None:
    sources = f"deb [signed-by={KEYRING}] mirror+file:/etc/apt/mirrors/x.list {SUITE} main\n"
    image = archive.image(sources=sources) | {"/etc/apt/mirrors/x.list": f"{archive.url}\n".encode()}
    assert len(apt.lacking(image, "arm64", ["wanted"])) == 3


def test_a_mirror_of_the_inventory_is_asked_instead(archive: Archive) -> None:
    sources = f"deb [signed-by={KEYRING}] http://deb.debian.invalid/debian {SUITE} main\n"
    mirrors = {r"http://deb\.debian\.invalid/debian/?": archive.url}
    assert len(apt.lacking(archive.image(sources=sources), "arm64", ["wanted"], mirrors=mirrors)) == 3


def test_nothing_of_this_machines_apt_changes(archive: Archive) -> None:
    places = [Path("/var/lib/apt/lists"), Path("/var/cache/apt"), Path("/var/lib/dpkg/status")]
    before = [place.stat().st_mtime_ns for place in places]
    apt.lacking(archive.image(), "arm64", ["wanted"])
    assert [place.stat().st_mtime_ns for place in places] == before


def test_nothing_is_left_also_where_only_root_gets_in(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert len(apt.lacking(archive.image(), "arm64", ["wanted"])) == 3
    assert list(tmp_path.iterdir()) == []


def test_hooks_of_the_images_apt_do_not_run_here(archive: Archive, tmp_path: Path) -> None:
    hook = f'APT::Update::Pre-Invoke {{ "touch {tmp_path}/ran"; }};\n'.encode()
    apt.lacking(archive.image() | {"/etc/apt/apt.conf.d/99evil": hook}, "arm64", ["wanted"])
    assert not (tmp_path / "ran").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_under_sudo_it_runs_as_the_user(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "65534")
    assert len(apt.lacking(archive.image(), "arm64", ["wanted"])) == 3


# -- what is refused ------------------------------------------------------------------------------


def test_an_archive_that_another_key_signed_is_refused(archive: Archive) -> None:
    other = archive.key.signer.export(archive.key.signer.make("stranger"))
    with pytest.raises(SignatureInvalid, match="not signed by a key of the base"):
        apt.lacking(archive.image(key=other), "arm64", ["wanted"])


def test_the_keys_of_this_machine_count_for_nothing(archive: Archive) -> None:
    """The image's source names no key, and the image has none."""
    image = archive.image(sources=f"deb {archive.url} {SUITE} main\n")
    with pytest.raises(SignatureInvalid):
        apt.lacking(image, "arm64", ["wanted"])


def test_keys_that_the_image_trusts_count(archive: Archive) -> None:
    image = archive.image(sources=f"deb {archive.url} {SUITE} main\n")
    image["/etc/apt/trusted.gpg.d/own.asc"] = archive.key.signer.export(archive.key.fingerprint, armour=True)
    assert len(apt.lacking(image, "arm64", ["wanted"])) == 3


def test_keys_in_the_source_itself_count(archive: Archive) -> None:
    armoured = archive.key.signer.export(archive.key.fingerprint, armour=True).decode()
    folded = "\n".join(f" {line or '.'}" for line in armoured.splitlines())
    stanza = f"Types: deb\nURIs: {archive.url}\nSuites: {SUITE}\nComponents: main\nSigned-By:\n{folded}\n"
    image = archive.image() | {apt.LISTS: b"", "/etc/apt/sources.list.d/x.sources": stanza.encode()}
    assert len(apt.lacking(image, "arm64", ["wanted"])) == 3


def test_a_source_that_trusts_everybody_is_not_believed(archive: Archive) -> None:
    image = archive.image(sources=f"deb [trusted=yes allow-insecure=yes] {archive.url} {SUITE} main\n")
    with pytest.raises(SignatureInvalid):
        apt.lacking(image, "arm64", ["wanted"])


def test_a_key_that_the_image_has_not_is_told_by_name(archive: Archive) -> None:
    image = archive.image()
    del image[KEYRING]
    with pytest.raises(SignatureInvalid, match=r"own\.gpg, and the image has no such keys"):
        apt.lacking(image, "arm64", ["wanted"])


def test_a_list_that_was_changed_after_it_was_signed_is_refused(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(archive.folder, tmp_path / "copy")
    listed = tmp_path / "copy/dists" / SUITE / "main/binary-arm64/Packages"
    listed.write_text(listed.read_text().replace("SHA256: ", "SHA256: 0", 1))
    with serving(tmp_path / "copy") as url, pytest.raises((SourceUnreachable, SignatureInvalid)):
        apt.lacking(archive.image(sources=f"deb [signed-by={KEYRING}] {url} {SUITE} main\n"), "arm64", ["wanted"])


def test_a_package_that_no_archive_has_is_told(archive: Archive) -> None:
    with pytest.raises(UsageError, match="no archive of the base has the package unheard-of"):
        apt.lacking(archive.image(), "arm64", ["wanted", "unheard-of"])


def test_an_archive_that_is_away_is_told(archive: Archive) -> None:
    image = archive.image(sources=f"deb [signed-by={KEYRING}] http://127.0.0.1:1/ {SUITE} main\n")
    with pytest.raises(SourceUnreachable, match="could not find out which packages"):
        apt.lacking(image, "arm64", ["wanted"])


def test_the_proxy_of_the_environment_is_used_as_for_all_else(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt.lacking(archive.image(), "arm64", ["wanted"])
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(SourceUnreachable, match="could not find out which packages"):
        apt.lacking(archive.image(), "arm64", ["wanted"])


@pytest.mark.parametrize("sources", ["# none\n", "deb cdrom:[x]/ trixie main\n", "deb file:/srv/debian trixie main\n"])
def test_an_image_without_a_source_on_the_network_is_told(archive: Archive, sources: str) -> None:
    with pytest.raises(ContentMalformed, match="names no archive"):
        apt.lacking(archive.image(sources=sources), "arm64", ["wanted"])


# -- the real archive -----------------------------------------------------------------------------


@pytest.mark.archive
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_debians_own_archive_by_debians_own_keys(architecture: str) -> None:
    ring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not ring.exists():
        pytest.skip("debian-archive-keyring is not installed")
    # Where this machine gets its own packages from.
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=True
    )
    site = next(line for line in asked.stdout.splitlines() if line.rstrip("/").endswith("/debian"))
    sources = f"deb [signed-by={ring}] {site} trixie main\n"
    files = {apt.STATUS: b"", apt.LISTS: sources.encode(), str(ring): ring.read_bytes()}
    found = {one.name: one for one in apt.lacking(files, architecture, ["dropbear-bin", "nftables"])}  # type: ignore[arg-type]
    assert {"dropbear-bin", "nftables", "libc6", "libnftables1"} <= set(found)
    assert found["dropbear-bin"].architecture == architecture
    assert found["dropbear-bin"].url.startswith(f"{site.rstrip('/')}/pool/")
