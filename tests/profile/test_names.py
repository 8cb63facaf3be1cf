"""Shapes of names: the good pass and come out clean, and nothing that a shell or path could read otherwise does."""

import base64

import pytest

from imagesmith.profile import names

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"
_BLOB = base64.b64decode(ED25519.split()[1])

# What would do harm if it came through: into a shell, a path, YAML, or a terminal.
HOSTILE = [
    "",
    " ",
    "a b",
    "a\n",
    "\na",
    "a;reboot",
    "$(reboot)",
    "`reboot`",
    "a|b",
    "a&b",
    "a'b",
    'a"b',
    "../a",
    "a/../../etc",
    "/etc/passwd",
    "a\x00",
    "a\x1b[31m",
    "{{ 7*7 }}",
    "a: b",
    "ａ",
    "-rf",
]


@pytest.mark.parametrize("check", [names.host_name, names.profile_name, names.user_name, names.mac, names.ip_address,
                                   names.interface_address, names.domain, names.time_zone, names.locale, names.keyboard,
                                   names.host_or_address, names.package, names.word, names.https_url, names.file_name,
                                   names.fingerprint])  # fmt: skip
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_no_name(check, text):
    with pytest.raises(ValueError):
        check(text)


@pytest.mark.parametrize("text", ["node-1", "a", "0", "rpi4", "x" * 63, "1-2-3"])
def test_a_host_name(text):
    assert names.host_name(text) == text


@pytest.mark.parametrize("text", ["Node", "a_b", "a.b", "-a", "a-", "x" * 64, "localhost"])
def test_no_host_name(text):
    with pytest.raises(ValueError):
        names.host_name(text)


@pytest.mark.parametrize(("text", "clean"), [
    ("192.168.1.10/24", "192.168.1.10/24"),
    ("10.0.0.1/255.255.255.0", "10.0.0.1/24"),
    ("10.0.0.0/31", "10.0.0.0/31"),
    ("FD00::5/64", "fd00::5/64"),
])  # fmt: skip
def test_an_interface_address(text, clean):
    assert names.interface_address(text) == clean


@pytest.mark.parametrize("text", [
    "192.168.1.10", "192.168.1.0/24", "192.168.1.255/24", "192.168.1.10/33", "192.168.1.300/24", "127.0.0.1/8",
    "224.0.0.5/24", "0.0.0.0/0", "fe80::1%eth0/64", "fe80::1%$(reboot)/64", "192.168.001.010/24",
])  # fmt: skip
def test_no_interface_address(text):
    with pytest.raises(ValueError):
        names.interface_address(text)


def test_an_address_without_its_prefix_is_told_how_to_write_it():
    with pytest.raises(ValueError, match=r"lacks the prefix length; write it like 192.168.1.10/24"):
        names.interface_address("192.168.1.10")


def test_a_scope_is_no_part_of_an_address():
    with pytest.raises(ValueError, match="after the %"):
        names.ip_address("fe80::1%eth0")


@pytest.mark.parametrize(("text", "clean"), [("DC-A6-32-01-02-03", "dc:a6:32:01:02:03"),
                                             ("52:54:00:12:34:56", "52:54:00:12:34:56")])  # fmt: skip
def test_a_mac(text, clean):
    assert names.mac(text) == clean


@pytest.mark.parametrize("text", ["dc:a6:32:01:02", "dc:a6:32:01:02:0g", "01:00:5e:00:00:01", "00:00:00:00:00:00",
                                  "dca632010203", "ff:ff:ff:ff:ff:ff"])  # fmt: skip
def test_no_mac(text):
    with pytest.raises(ValueError):
        names.mac(text)


@pytest.mark.parametrize("text", [ED25519, f"{ED25519} me@home", f"{ED25519}  a comment, with commas"])
def test_an_ssh_key(text):
    assert names.ssh_public_key(text).split()[:2] == ED25519.split()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-dss AAAAB3NzaC1kc3MAAACBAJ",
        ED25519.replace("AAAAC3", "AAAA"),
        ED25519[:-20],
        ED25519 + "\n" + ED25519,
        ED25519 + "\n",
        "ssh-rsa " + ED25519.split()[1],
        'command="reboot" ' + ED25519,
        "ssh-ed25519 " + base64.b64encode(_BLOB[:19]).decode(),
        ED25519 + " \x1b[31m",
        "ssh-ed25519 ~~~~",
    ],
)
def test_no_ssh_key(text):
    with pytest.raises(ValueError):
        names.ssh_public_key(text)


def test_a_private_key_is_refused_without_showing_it():
    with pytest.raises(ValueError) as caught:
        names.ssh_public_key("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=")
    assert "PRIVATE key" in str(caught.value)
    assert "b3BlbnN" not in str(caught.value)


@pytest.mark.parametrize("text", ["Europe/Berlin", "UTC", "Etc/GMT+1", "America/Argentina/Buenos_Aires"])
def test_a_time_zone(text):
    assert names.time_zone(text) == text


@pytest.mark.parametrize("text", ["pool.ntp.org", "192.168.1.1", "fd00::1", "router"])
def test_a_server(text):
    assert names.host_or_address(text) == text


@pytest.mark.parametrize("text", ["root", "Admin", "9lives", "x" * 33, "a.b"])
def test_no_user_name(text):
    with pytest.raises(ValueError):
        names.user_name(text)


@pytest.mark.parametrize("text", ["http://example.org/a", "https://user:pw@example.org/a", "https://example.org/a b",
                                  "file:///etc/passwd", "https://example.org"])  # fmt: skip
def test_no_https_url(text):
    with pytest.raises(ValueError):
        names.https_url(text)


@pytest.mark.parametrize("text", ["root=/dev/sda1", "a root=LABEL=x", "a;b", 'a="b c"'])
def test_no_kernel_words(text):
    with pytest.raises(ValueError):
        names.kernel_words(text)


def test_a_fingerprint_may_be_written_with_spaces():
    assert names.fingerprint("f4aa dd86 c468 7d69 ae04 543e 796c 114a d12b 2292") == (
        "F4AADD86C4687D69AE04543E796C114AD12B2292"
    )
