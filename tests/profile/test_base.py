"""Bases: where a base's bytes come from, read strictly."""

import pytest

from imagesmith.errors import DocumentInvalid
from imagesmith.model import DebianSource, Digest, FileSource, Follow, HttpSource, Signature
from imagesmith.profile.load import load_base

HEX = "ab" * 32
HTTP = f"""\
schema: 1
name: stock
family: raspios-cloudinit
http:
  url: https://example.org/a.img.xz
  digest: sha256:{HEX}
  size: 1GB
  released: 2026-10-06
"""
DEBIAN = """\
schema: 1
name: debian
family: debian
debian:
  suite: trixie
  components: [main]
  loader: systemd-boot
  cmdline: console=tty0   quiet
  layout:
    table: gpt
    partitions:
      - {role: esp, filesystem: fat32, label: ESP, size: 512MiB, mount: /boot/efi}
      - {role: root, filesystem: ext4, label: root, mount: /}
  packages: [systemd-sysv, linux-image-amd64]
"""


def complaints(text):
    with pytest.raises(DocumentInvalid) as caught:
        load_base(text, "bases/b.yaml")
    for problem in caught.value.problems:
        assert problem.file == "bases/b.yaml"
        assert problem.line > 0
    return [str(problem) for problem in caught.value.problems]


def test_a_publishers_file():
    source = load_base(HTTP, "bases/b.yaml").source
    assert source == HttpSource(
        url="https://example.org/a.img.xz", digest=Digest("sha256", HEX), size=10**9, released=1791244800
    )


def test_a_signature_and_where_its_keys_are():
    signature = (
        "signature: {url: https://example.org/a.sig, covers: file, fingerprints: [" + "AB" * 20 + "], "
        "keyring: k.gpg, key_url: https://example.org/k.asc}"
    )
    found = load_base(HTTP.replace("size: 1GB", signature), "bases/b.yaml").source.signature
    assert found == Signature("https://example.org/a.sig", "file", ("AB" * 20,), "k.gpg", "https://example.org/k.asc")


def test_a_debian_base():
    source = load_base(DEBIAN, "bases/b.yaml").source
    assert isinstance(source, DebianSource)
    assert source.packages == ("systemd-sysv", "linux-image-amd64")
    assert source.cmdline == "console=tty0 quiet"
    assert [partition.size for partition in source.layout.partitions] == [512 * 1024 * 1024, 0]


@pytest.mark.parametrize(
    ("written", "meant"), [("my.img.xz", "bases/my.img.xz"), ("../my.img", "bases/../my.img"), ("/a/b.img", "/a/b.img")]
)
def test_a_file_is_meant_from_where_it_is_written(written, meant):
    text = f"schema: 1\nname: mine\nfamily: debian\nfile:\n  path: {written}\n"
    assert load_base(text, "bases/b.yaml").source == FileSource(meant)


def test_two_sources_are_one_too_many():
    assert "exactly one of the keys" in complaints(HTTP + "file: {path: a}\n")[0]


def test_no_source_is_one_too_few():
    assert "found none of them" in complaints("schema: 1\nname: a\nfamily: debian\n")[0]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("https://example.org", "http://example.org", "is not an https:// address"),
        (HEX, HEX[:-1], "is not a digest"),
        ("2026-10-06", "2026-13-06", "is not a day"),
        ("raspios-cloudinit", "raspios-cloud", "did you mean 'raspios-cloudinit'?"),
        ("name: stock", "name: ../stock", "is not a name"),
        ("  size: 1GB", "  sise: 1GB", "did you mean 'size'?"),
        ("  size: 1GB", "  mirrors: [ftp://example.org/a]", "is not an https:// address"),
        (
            "  size: 1GB",
            "  signature: {url: https://example.org/, covers: checksums, fingerprints: [" + "A" * 40 + "], keyring: k}",
            "there is no checksums_url",
        ),
        (
            "  size: 1GB",
            "  signature: {url: https://example.org/a.sig, covers: file, fingerprints: [DEADBEEF], keyring: ../k}",
            "is not an OpenPGP fingerprint",
        ),
        (
            "  size: 1GB",
            "  signature: {url: https://a.org/s, covers: file, fingerprints: [A], keyring: k, key_url: http://a.org/k}",
            "'http://a.org/k' is not an https:// address",
        ),
        (
            "  size: 1GB",
            "  signature: {url: https://example.org/a.sig, covers: file, fingerprints: [], keyring: k}",
            "the list is empty",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_publishers_file(old, new, complaint):
    assert old in HTTP
    assert any(complaint in line for line in complaints(HTTP.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("table: gpt", "table: mbr", "systemd-boot starts from gpt"),
        ("role: esp", "role: boot", "needs a partition with the role esp"),
        ("role: esp, filesystem: fat32", "role: esp, filesystem: ext4", "boot and esp are fat32"),
        ("label: ESP", "label: MUCHTOOLONGLABEL", "has 11 characters at most"),
        ("role: esp", "role: root", "exactly one root"),
        ("size: 512MiB, ", "", "only the last partition may leave out its size"),
        ("linux-image-amd64", "systemd-sysv", "listed twice: systemd-sysv"),
        ("linux-image-amd64", '"--hook=x"', "is not a Debian package's name"),
        ("cmdline: console=tty0   quiet", "cmdline: root=/dev/sda2", "root= is added by imagesmith"),
        ("suite: trixie", "suite: ../x", "is not a plain lower-case word"),
        ("loader: systemd-boot", "loader: grub", "is none of systemd-boot, raspi-firmware"),
        ("mount: /boot/efi", "mount: boot", "is not a mount point"),
    ],
)
def test_a_mistake_in_a_debian_base(old, new, complaint):
    assert old in DEBIAN
    assert any(complaint in line for line in complaints(DEBIAN.replace(old, new)))


def test_a_base_may_start_on_another_machine_than_its_board_or_on_none():
    assert load_base(HTTP + "machine: none\n", "bases/toy.yaml").machine == "none"
    how = "{machine: raspi3b, cpu: a, cpus: 4, memory: 1GiB, start: kernel, disk: sd, network: usb, console: x}"
    assert load_base(f"{HTTP}machine: {how}\n", "bases/toy.yaml").machine.machine == "raspi3b"


def test_a_machine_that_is_neither_is_told():
    with pytest.raises(DocumentInvalid, match="is none of none"):
        load_base(HTTP + "machine: virt\n", "bases/toy.yaml")


FOLLOW = """\
  follow:
    publisher: raspberrypi
    index: https://example.org/os_list.json
    choose: {name: Lite (64-bit), init_format: cloudinit-rpi}
"""


def test_a_base_names_the_index_that_it_follows():
    source = load_base(HTTP + FOLLOW, "bases/b.yaml").source
    assert isinstance(source, HttpSource)
    chosen = {"name": "Lite (64-bit)", "init_format": "cloudinit-rpi"}
    assert source.follow == Follow("raspberrypi", "https://example.org/os_list.json", chosen)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("raspberrypi", "microsoft", "is none of raspberrypi, armbian, ubuntu, debian"),
        ("https://example", "http://example", "not an https:// address"),
        ("name: Lite (64-bit), ", "", "it must say name or file"),
        ("name: Lite", "nmae: Lite", "nmae"),
        ("    index: https://example.org/os_list.json\n", "", "'index' is required"),
        ("{name: Lite (64-bit), init_format: cloudinit-rpi}", "newest", "expected keys and values"),
    ],
)
def test_what_is_followed_is_read_strictly(old, new, told):
    assert any(told in one for one in complaints(HTTP + FOLLOW.replace(old, new)))


def test_every_publisher_has_words_of_its_own():
    ubuntu = FOLLOW.replace("raspberrypi", "ubuntu")
    assert any("'name'" in one for one in complaints(HTTP + ubuntu))
