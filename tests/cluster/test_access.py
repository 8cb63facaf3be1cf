"""The ways in: what goes into an image for them, as sshd and systemd read it, and log-ins to a real Dropbear."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster.node_parts import MATERIALS, PROFILE, part, texts
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagesmith.cluster import access, contents
from imagesmith.identity.ssh import HostKey
from imagesmith.model import SshAccess
from imagesmith.workflow.sealed import known_line

PATH = f"{os.environ['PATH']}:/usr/sbin"
SSHD, DROPBEAR = (shutil.which(program, path=PATH) for program in ("sshd", "dropbear"))
UNIT = "/etc/systemd/system/imagesmith-dropbear.service"
ALONE, BOTH = SshAccess("dropbear", 2200), SshAccess("both", 22, 2222)


def put(ssh: SshAccess) -> dict[str, str]:
    return texts(access.edits(part(ssh=ssh), PROFILE, MATERIALS))


# -- what goes into an image --------------------------------------------------------------------------------


def test_openssh_on_its_usual_port_needs_nothing_more() -> None:
    assert put(SshAccess()) == {
        "/etc/imagesmith/access.conf": "SSH_SERVER='openssh'\nSSH_PORT='22'\nDROPBEAR_PORT=''\n"
    }
    assert access.packages(part()) == ()


@pytest.mark.parametrize(("ssh", "port"), [(ALONE, "2200"), (BOTH, "2222")])
def test_dropbears_port_is_the_only_one_or_its_own(ssh: SshAccess, port: str) -> None:
    assert f"DROPBEAR_PORT='{port}'\n" in put(ssh)["/etc/imagesmith/access.conf"]


@pytest.mark.parametrize("ssh", [ALONE, BOTH])
def test_dropbear_comes_with_a_unit_of_ours_that_takes_neither_passwords_nor_root(ssh: SshAccess) -> None:
    (command,) = (line for line in put(ssh)[UNIT].splitlines() if line.startswith("ExecStart="))
    assert {"-s", "-w"} <= set(command.split())
    assert access.packages(part(ssh=ssh)) == ("dropbear-bin",)


@pytest.mark.parametrize("ssh", [SshAccess(), ALONE, BOTH])
def test_nothing_of_dropbears_is_enabled_before_it_has_its_keys(ssh: SshAccess) -> None:
    assert not any("wants" in edit.path for edit in access.edits(part(ssh=ssh), PROFILE, MATERIALS))


def test_no_file_of_sshds_is_written_that_families_write() -> None:
    assert "/etc/ssh/sshd_config.d/10-imagesmith.conf" not in put(SshAccess(port=2200))


@pytest.mark.parametrize(
    ("ssh", "withdrawn", "promised"),
    [
        (SshAccess(), set(), set()),
        (BOTH, set(), {"unit.imagesmith-dropbear.service"}),
        (ALONE, {"unit.ssh.service", "unit.ssh.socket"}, {"unit.imagesmith-dropbear.service"}),
    ],
)
def test_what_is_promised_is_the_server_that_is_there(ssh: SshAccess, withdrawn: set[str], promised: set[str]) -> None:
    one = part(ssh=ssh)
    assert {fact for fact in contents.withdrawn(one) if "ssh" in fact} == withdrawn
    assert {promise.fact for promise in access.promises(one)} == promised


@pytest.mark.skipif(not SSHD, reason="sshd is not installed")
def test_sshd_listens_on_the_port_and_on_no_other(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    folder = tmp_path / "sshd_config.d"
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    (folder / "11-imagesmith-port.conf").write_text(put(SshAccess(port=2200))[access.PORT_DROP_IN])
    (tmp_path / "sshd_config").write_text(f"HostKey {tmp_path}/key\nInclude {folder}/*.conf\n#Port 22\n")
    done = subprocess.run(
        [str(SSHD), "-T", "-f", tmp_path / "sshd_config"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line.startswith("port ")] == ["port 2200"]


UBUNTUS_SOCKET = """\
[Unit]
Description=OpenBSD Secure Shell server socket
[Socket]
ListenStream=0.0.0.0:22
ListenStream=[::]:22
BindIPv6Only=ipv6-only
Accept=no
"""
DEBIANS_SOCKET = "[Unit]\nDescription=OpenBSD Secure Shell server socket\n[Socket]\nListenStream=22\nAccept=no\n"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("socket_unit", [UBUNTUS_SOCKET, DEBIANS_SOCKET], ids=["ubuntu", "debian"])
def test_systemd_listens_on_the_port_and_on_no_other(socket_unit: str, tmp_path: Path) -> None:
    units = tmp_path / "units"
    drop_in = units / "ssh.socket.d/10-imagesmith.conf"
    drop_in.parent.mkdir(parents=True)
    (units / "ssh.socket").write_text(socket_unit)
    (units / "ssh.service").write_text("[Unit]\nDescription=ssh\n[Service]\nExecStart=/bin/true\n")
    drop_in.write_text(put(SshAccess(port=2200))[access.SOCKET_DROP_IN])
    done = subprocess.run(
        ["systemd-analyze", "verify", units / "ssh.socket"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "ssh.socket" in line] == []
    listening = [line for text in (socket_unit, drop_in.read_text()) for line in text.splitlines() if "Listen" in line]
    emptied = listening.index("ListenStream=")
    assert listening[emptied + 1 :] == ["ListenStream=0.0.0.0:2200", "ListenStream=[::]:2200"]


# -- a real Dropbear, with keys as a vault keeps them -------------------------------------------------------

PASSWORD = "correct horse"
ACCOUNT = """\
root:x:0:0:root:/root:/bin/sh
sshd:x:105:65534::/run/sshd:/usr/sbin/nologin
ann:x:4242:4242::/home/ann:/bin/sh
"""
PREPARE = """\
set -e
mount --make-rprivate /
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
mount -t tmpfs none /home
mount -t tmpfs none /root
for home in /home/ann /root; do
    mkdir -p "$home/.ssh"
    cp "$1/ann.pub" "$home/.ssh/authorized_keys"
    chmod -R go= "$home"
done
chown -R 4242:4242 /home/ann
shift
exec "$@"
"""
"""Accounts that only this process and its children see."""


@dataclass(frozen=True)
class Reached:
    """A Dropbear that answers, and a computer's folder with a known_hosts made from the vault's public halves."""

    folder: Path
    port: int

    def ssh(self, *words: str, user: str = "ann", env: dict[str, str] | None = None) -> tuple[int, str, str]:
        done = subprocess.run(
            [
                *("ssh", "-F", "none", "-p", str(self.port), "-i", str(self.folder / "ann")),
                *("-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=none"),
                *("-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}"),
                *words,
                *(f"{user}@127.0.0.1", "id -un; pwd"),
            ],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    if os.geteuid() != 0 or not DROPBEAR or not shutil.which("openssl"):
        pytest.skip("needs root and dropbear")
    with dropbear(tmp_path_factory.mktemp("dropbear"), _flags()) as found:
        yield found


def _flags() -> list[str]:
    """Those of the unit, without what names its files and its port."""
    (command,) = (line for line in put(BOTH)[UNIT].splitlines() if line.startswith("ExecStart="))
    words = command.split()[1:]
    for named in ("-p", "-P", "-r", "-r"):
        at = words.index(named)
        del words[at : at + 2]
    return words


@contextmanager
def dropbear(folder: Path, flags: list[str]) -> Iterator[Reached]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = {"ed25519": HostKey(Ed25519PrivateKey.generate()), "ecdsa": HostKey(ec.generate_private_key(ec.SECP256R1()))}
    known = []
    for kind, key in keys.items():
        (folder / f"openssh-{kind}").write_bytes(key.openssh().reveal())
        (folder / f"openssh-{kind}").chmod(0o600)
        convert = ["dropbearconvert", "openssh", "dropbear", folder / f"openssh-{kind}", folder / kind]
        subprocess.run(convert, check=True, capture_output=True)
        known.append(known_line(("127.0.0.1",), (port,), key.public_line().decode()))
    (folder / "known_hosts").write_text("".join(f"{line}\n" for line in known))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "ann"], check=True)
    crypted = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True)
    (folder / "passwd").write_text(ACCOUNT)
    (folder / "shadow").write_text(
        "".join(f"{name}:{crypted.stdout.strip()}:20000:0:99999:7:::\n" for name in ("root", "ann"))
    )
    argv = [str(DROPBEAR), *flags, "-p", f"127.0.0.1:{port}", "-P", str(folder / "pid")]
    argv += ["-r", str(folder / "ed25519"), "-r", str(folder / "ecdsa")]
    prepared = ["unshare", "-m", "sh", "-c", PREPARE, "sh", str(folder), *argv]
    with subprocess.Popen(prepared, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            _wait_for(port)
            yield Reached(folder, port)
        finally:
            running.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as found:
                found.recv(3)
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("dropbear did not start")


ASK_PASSWORD = {"SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}


def _asked(found: Reached) -> dict[str, str]:
    """A program that answers whatever ssh asks with the right password, and remembers that it was asked."""
    program = found.folder / "askpass"
    program.write_text(f"#!/bin/sh\necho \"$1\" >>{found.folder}/asked\necho '{PASSWORD}'\n")
    program.chmod(0o755)
    (found.folder / "asked").write_text("")
    return {**ASK_PASSWORD, "SSH_ASKPASS": str(program)}


@pytest.mark.root
@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_one_logs_in_to_dropbear_by_the_premade_known_hosts_and_is_asked_nothing(
    reached: Reached, algorithm: str
) -> None:
    code, told, complaint = reached.ssh("-o", f"HostKeyAlgorithms={algorithm}", env=_asked(reached))
    assert (code, told, complaint) == (0, "ann\n/home/ann\n", "")
    assert (reached.folder / "asked").read_text() == ""


NO_KEY = ("-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1")


@pytest.mark.root
def test_dropbear_refuses_a_password_that_is_right(reached: Reached) -> None:
    code, told, complaint = reached.ssh(*NO_KEY, env=_asked(reached))
    assert (code, told) == (255, "")
    assert "Permission denied (publickey)" in complaint


@pytest.mark.root
def test_the_same_password_would_be_taken_without_our_flags(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not DROPBEAR:
        pytest.skip("needs root and dropbear")
    with dropbear(tmp_path, ["-F", "-E"]) as lax:
        assert lax.ssh(*NO_KEY, env=_asked(lax))[:2] == (0, "ann\n/home/ann\n")
        assert lax.ssh(user="root")[:2] == (0, "root\n/root\n")


@pytest.mark.root
def test_dropbear_refuses_root_with_a_key_that_is_right(reached: Reached) -> None:
    assert reached.ssh("-o", "BatchMode=yes", user="root")[0] == 255


@pytest.mark.root
def test_a_dropbear_with_other_keys_is_not_taken_for_the_node(reached: Reached, tmp_path: Path) -> None:
    other = HostKey(Ed25519PrivateKey.generate()).public_line().decode()
    wrong = tmp_path / "known_hosts"
    wrong.write_text(f"{known_line(('127.0.0.1',), (reached.port,), other)}\n")
    code, _, complaint = Reached(tmp_path, reached.port).ssh("-i", str(reached.folder / "ann"))
    assert (code, "REMOTE HOST IDENTIFICATION HAS CHANGED" in complaint) == (255, True)


@pytest.mark.parametrize(("ssh", "expected"), [(SshAccess(), (22,)), (ALONE, (2200,)), (BOTH, (22, 2222))])
def test_the_ports_are_those_that_answer(ssh: SshAccess, expected: tuple[int, ...]) -> None:
    assert access.ports(ssh) == expected
