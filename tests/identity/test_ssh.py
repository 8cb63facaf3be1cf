"""SSH host keys, read back by OpenSSH's and Dropbear's own programs."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import ContentMalformed
from imagesmith.identity.ssh import HostKey, Kind, known_hosts, read_openssh
from imagesmith.secret import Secret

COMMENT = "root@node-1"


@pytest.fixture(params=list(Kind))
def key(request: pytest.FixtureRequest) -> HostKey:
    return drawn(request.param)


def drawn(kind: Kind, comment: str = COMMENT) -> HostKey:
    if kind is Kind.ED25519:
        return HostKey(Ed25519PrivateKey.generate(), comment)
    return HostKey(ec.generate_private_key(ec.SECP256R1()), comment)


def written(path: Path, content: Secret | bytes) -> Path:
    path.write_bytes(content.reveal() if isinstance(content, Secret) else content)
    path.chmod(0o600)
    return path


def said(*words: object) -> str:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def test_ssh_keygen_finds_the_same_public_line_in_the_private_file(key: HostKey, tmp_path: Path) -> None:
    path = written(tmp_path / "key", key.openssh())
    assert said("ssh-keygen", "-y", "-f", path) == key.public_line().decode()


def test_ssh_keygen_shows_the_same_fingerprint(key: HostKey, tmp_path: Path) -> None:
    shown = f"256 {key.fingerprint()} {COMMENT} ({key.kind.upper()})\n"
    assert said("ssh-keygen", "-l", "-f", written(tmp_path / "key", key.openssh())) == shown
    assert said("ssh-keygen", "-l", "-f", written(tmp_path / "key.pub", key.public_line())) == shown


def test_the_private_file_is_broken_into_lines_as_ssh_keygen_breaks_them(key: HostKey, tmp_path: Path) -> None:
    said("ssh-keygen", "-q", "-t", key.kind, "-N", "", "-C", COMMENT, "-f", tmp_path / "theirs")
    theirs = (tmp_path / "theirs").read_bytes().splitlines()
    ours = key.openssh().reveal().splitlines()
    assert (ours[0], ours[-1]) == (theirs[0], theirs[-1])
    assert {len(line) for line in ours[1:-2]} == {len(line) for line in theirs[1:-2]}
    assert len(ours[-2]) <= len(ours[1])


@pytest.mark.parametrize("length", range(9))
def test_the_private_file_is_as_long_as_ssh_keygen_s(length: int, tmp_path: Path) -> None:
    comment = "c" * length
    said("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", tmp_path / "theirs")
    assert len(drawn(Kind.ED25519, comment).openssh().reveal()) == (tmp_path / "theirs").stat().st_size


def test_a_key_that_ssh_keygen_made_is_the_same_after_it_was_read(key: HostKey, tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    said("ssh-keygen", "-q", "-t", key.kind, "-N", "", "-C", "a word, and another", "-f", path)
    read = read_openssh(Secret(path.read_bytes()))
    assert (read.kind, read.comment) == (key.kind, "a word, and another")
    assert read.public_line() == (tmp_path / "theirs.pub").read_bytes()


def test_dropbearkey_finds_the_same_public_key_and_fingerprint(key: HostKey, tmp_path: Path) -> None:
    lines = said("dropbearkey", "-y", "-f", written(tmp_path / "key", key.dropbear())).splitlines()
    assert lines[1].split()[:2] == key.public_line().decode().split()[:2]
    assert lines[2] == f"Fingerprint: {key.fingerprint()}"


def test_dropbearconvert_makes_the_same_file_out_of_openssh_s(key: HostKey, tmp_path: Path) -> None:
    path = written(tmp_path / "key", key.openssh())
    said("dropbearconvert", "openssh", "dropbear", path, tmp_path / "theirs")
    assert (tmp_path / "theirs").read_bytes() == key.dropbear().reveal()


def test_dropbearconvert_takes_the_file_back_to_openssh_s(key: HostKey, tmp_path: Path) -> None:
    path = written(tmp_path / "key", key.dropbear())
    said("dropbearconvert", "dropbear", "openssh", path, tmp_path / "back")
    # Dropbear 2022 writes ECDSA in the older form; ssh-keygen reads both.
    assert said("ssh-keygen", "-y", "-f", tmp_path / "back").split()[:2] == key.public_line().decode().split()[:2]


@given(st.binary(min_size=32, max_size=32), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=70))
def test_an_ed25519_key_comes_back_whatever_its_comment_is(seed: bytes, comment: str) -> None:
    made = HostKey(Ed25519PrivateKey.from_private_bytes(seed), comment)
    back = read_openssh(made.openssh())
    assert back.comment == comment
    assert back.openssh().reveal() == made.openssh().reveal()


@given(st.integers(1, 2**256 - 2**225))
def test_an_ecdsa_key_comes_back_whatever_its_number_is(number: int) -> None:
    made = HostKey(ec.derive_private_key(number, ec.SECP256R1()))
    back = read_openssh(made.openssh()).key
    assert isinstance(back, ec.EllipticCurvePrivateKey)
    assert back.private_numbers().private_value == number


@pytest.mark.parametrize("number", [1, 0x7F, 0x80, 2**255 - 1, 2**255])
def test_dropbear_agrees_where_the_number_s_length_changes(number: int, tmp_path: Path) -> None:
    key = HostKey(ec.derive_private_key(number, ec.SECP256R1()))
    said("dropbearconvert", "openssh", "dropbear", written(tmp_path / "key", key.openssh()), tmp_path / "theirs")
    assert (tmp_path / "theirs").read_bytes() == key.dropbear().reveal()


def test_the_same_key_gives_the_same_file(key: HostKey) -> None:
    assert key.openssh().reveal() == HostKey(key.key, COMMENT).openssh().reveal()


def test_a_key_shows_nothing_but_its_fingerprint(key: HostKey) -> None:
    assert repr(key) == f"HostKey({key.fingerprint()})"


def test_a_comment_of_two_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="one line"):
        drawn(Kind.ED25519, "one\ntwo")


def test_ssh_keygen_finds_every_name_and_address(tmp_path: Path) -> None:
    keys = [drawn(kind) for kind in Kind]
    hosts = ["node-1", "Node-1.Rack.LAN", "192.0.2.7", "2001:db8:0::7"]
    path = written(tmp_path / "known_hosts", known_hosts(keys, hosts))
    for host in ("node-1", "node-1.rack.lan", "192.0.2.7", "2001:db8::7"):
        found = said("ssh-keygen", "-F", host, "-f", path)
        assert [line.split()[1] for line in found.splitlines() if line[0] != "#"] == [
            key.kind.algorithm for key in keys
        ]


def test_another_port_is_found_under_that_port_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "known_hosts", known_hosts([drawn(Kind.ED25519)], ["node-1", "2001:db8::7"], 2222))
    assert "found" in said("ssh-keygen", "-F", "[node-1]:2222", "-f", path)
    assert "found" in said("ssh-keygen", "-F", "[2001:db8::7]:2222", "-f", path)
    assert subprocess.run(["ssh-keygen", "-F", "node-1", "-f", path], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("host", ["", "*.lan", "!node", "a b", "a,b", "node\n", "|1|x", "@revoked", "-node", "[node]"])
def test_what_is_no_host_is_no_line(host: str) -> None:
    with pytest.raises(ValueError, match="neither a host"):
        known_hosts([drawn(Kind.ED25519)], [host])


def test_no_host_is_no_line() -> None:
    with pytest.raises(ValueError, match="needs a name"):
        known_hosts([drawn(Kind.ED25519)], [])


def refusal(content: bytes) -> ContentMalformed:
    with pytest.raises(ContentMalformed) as caught:
        read_openssh(Secret(content), "ssh_host_key")
    assert caught.value.where == "ssh_host_key"
    assert caught.value.hint
    return caught.value


def test_a_key_with_a_passphrase_is_refused_with_the_way_out(tmp_path: Path) -> None:
    said("ssh-keygen", "-q", "-t", "ed25519", "-N", "long enough", "-f", tmp_path / "key")
    error = refusal((tmp_path / "key").read_bytes())
    assert "passphrase" in error.what
    assert "ssh-keygen -p" in error.hint


def test_the_public_half_is_told_from_the_private_one(key: HostKey) -> None:
    assert "public half" in refusal(key.public_line()).what


@pytest.mark.parametrize("bits", [384, 521])
def test_another_curve_is_refused(bits: int, tmp_path: Path) -> None:
    said("ssh-keygen", "-q", "-t", "ecdsa", "-b", bits, "-N", "", "-f", tmp_path / "key")
    assert "kind" in refusal((tmp_path / "key").read_bytes()).what


def test_an_rsa_key_is_refused() -> None:
    made = rsa.generate_private_key(65537, 1024)
    data = made.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    assert "kind" in refusal(data).what


def test_half_a_key_is_refused(key: HostKey) -> None:
    whole = key.openssh().reveal().splitlines(keepends=True)
    assert "not a whole one" in refusal(b"".join(whole[:3] + whole[-1:])).what


def test_something_else_is_refused() -> None:
    assert "no private key" in refusal(b"<html>not here</html>\n").what


@pytest.mark.parametrize("around", [b"# mine\n%s", b"%s\ntrailing\n", b"\n%s\n\n", b"%s%s"])
def test_what_stands_around_a_key_is_passed_over(key: HostKey, around: bytes) -> None:
    content = key.openssh().reveal()
    given = around.replace(b"%s", content)
    assert read_openssh(Secret(given)).openssh().reveal() == content


def test_a_key_with_other_line_ends_is_read(key: HostKey) -> None:
    content = key.openssh().reveal()
    assert read_openssh(Secret(content.replace(b"\n", b"\r\n"))).openssh().reveal() == content


KEYS = [drawn(kind) for kind in Kind]


@given(st.sampled_from(KEYS), st.data())
def test_a_damaged_key_is_refused_or_another_key_but_no_accident(made: HostKey, data: st.DataObject) -> None:
    begin, *middle, end = made.openssh().reveal().splitlines()
    content = bytearray(base64.b64decode(b"".join(middle)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    kept = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    try:
        read_openssh(Secret(b"\n".join([begin, base64.b64encode(kept), end, b""])))
    except ContentMalformed as error:
        assert error.what


@pytest.fixture
def dropbear(key: HostKey, tmp_path: Path) -> Iterator[int]:
    """The port of a real Dropbear with the key as its only one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host = written(tmp_path / "host", key.dropbear())
    program = shutil.which("dropbear", path=f"{os.environ['PATH']}:/usr/sbin")
    words = [program, "-F", "-E", "-P", tmp_path / "pid", "-p", f"127.0.0.1:{port}", "-r", host]
    server = subprocess.Popen([str(word) for word in words], stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    try:
        yield answering(port)
    finally:
        patience = time.monotonic() + 5
        while children.read_text() and time.monotonic() < patience:
            time.sleep(0.02)  # it has one for each connection, which nobody but it waits for
        server.kill()
        server.wait()


def answering(port: int) -> int:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return port
        time.sleep(0.05)
    raise AssertionError("Dropbear did not start")


def login(port: int, known: Path) -> str:
    """What ssh says, which has nothing to log in with, and may not ask."""
    options = [
        *("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=none"),
        *("IdentitiesOnly=yes", "IdentityFile=none"),
    ]
    words = ["ssh", "-F", "none", "-p", str(port), *(word for option in options for word in ("-o", option))]
    return subprocess.run([*words, "nobody@127.0.0.1", "true"], capture_output=True, text=True, check=False).stderr


def test_ssh_believes_a_dropbear_by_the_lines_made_beforehand(key: HostKey, dropbear: int, tmp_path: Path) -> None:
    told = login(dropbear, written(tmp_path / "known", known_hosts([key], ["127.0.0.1"], dropbear)))
    assert "Permission denied (publickey" in told
    assert "verification failed" not in told


def test_ssh_does_not_believe_a_dropbear_with_another_key(key: HostKey, dropbear: int, tmp_path: Path) -> None:
    lines = known_hosts([drawn(key.kind)], ["127.0.0.1"], dropbear)
    assert "Host key verification failed" in login(dropbear, written(tmp_path / "known", lines))
