"""A NAS of the tests' own: a real sshd on loopback that lets a node in for imagesmith-receive alone, and a node to it.

sshd is the real one, as is every program that makes a backup; only what would look at or change this machine is a
stand-in. `Nas.shell` says by whose shell the receiving script is run: this machine's, or busybox with nothing beside.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node_folder import NodeFolder
from remote.machines import SSHD, free_port, keygen

from imagesmith.cluster.backup import authorized_line
from imagesmith.formats.assignments import assignments
from imagesmith.model import Sealed
from imagesmith.model.backup import NEVER_LAID, SshStore
from imagesmith.secret import SecretRef

NODE = "node-1"
CA = "ab" * 32
STATUS = "var/lib/imagesmith/backup/status"
NEEDED = ("ssh-keygen", "zstd", "setfattr", "setfacl", "sqlite3", "flock", "mountpoint")
APPLETS = ("awk", "cat", "cut", "df", "head", "ls", "mkdir", "mv", "rm", "sh", "sha256sum", "sync", "tr", "wc")


def lacking() -> str:
    """What of the programs that these tests need is not here."""
    return ", ".join(name for name in NEEDED if not shutil.which(name)) or ("" if SSHD else "sshd")


@dataclass
class Nas:
    folder: Path
    port: int
    key: Path
    """The node's."""
    receive: Path
    shell: str = "/bin/sh"

    @property
    def store(self) -> SshStore:
        host_key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        return SshStore(getpass.getuser(), "127.0.0.1", str(self.folder / "kept"), host_key, self.port)

    @property
    def kept(self) -> list[str]:
        """Whole backups, the oldest first."""
        return sorted(path.name.removesuffix(".about") for path in self.own.glob("*.about"))

    @property
    def own(self) -> Path:
        return self.folder / "kept" / NODE

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.own.glob("*.part"))

    def authorize(self, wrapper: str = "") -> None:
        """Lets the node in. `wrapper` is a shell script that is run instead, with the command in "$@"."""
        public = self.key.with_suffix(".pub").read_text().strip()
        line = authorized_line(self.store, NODE, Sealed(SecretRef("vault:key"), public), str(self.receive))
        before = ""
        if wrapper:
            script = self.folder / "wrapper"
            script.write_text(wrapper)
            before = f"/bin/sh {script} "
        line = line.replace("/bin/sh ", f"{before}{self.shell} ", 1)
        (self.folder / "authorized_keys").write_text(line + "\n")

    def ask(self, *words: str, sent: bytes = b"", shell: str = "") -> subprocess.CompletedProcess[bytes]:
        """The receiving script itself, as sshd would run it."""
        return subprocess.run(
            [*(shell or self.shell).split(), self.receive, self.folder / "kept", NODE],
            input=sent, capture_output=True, check=False, env={**os.environ, "SSH_ORIGINAL_COMMAND": " ".join(words)},
        )  # fmt: skip


def busybox(folder: Path) -> str:
    """A shell of busybox alone: with its applets for every program that the script may call, and none beside."""
    folder.mkdir()
    program = shutil.which("busybox")
    assert program
    for applet in APPLETS:
        (folder / applet).symlink_to(program)
    return f"/usr/bin/env PATH={folder} {folder}/sh"


def backup(node: NodeFolder, mode: str = "now") -> tuple[int, dict[str, str]]:
    """A backup of the node: what it ended with, and its status."""
    done = subprocess.run(
        [node.library / "backup-node", mode],
        env=node.environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    found = node.read(STATUS) if node.exists(STATUS) else ""
    return done.returncode, dict(line.split("=", 1) for line in found.splitlines())


def plain_tar(path: Path) -> bytes:
    """The tar in a backup that is not encrypted."""
    return subprocess.run(["zstd", "-q", "-dc", path], capture_output=True, check=True).stdout


@contextmanager
def nas(folder: Path, node: NodeFolder) -> Iterator[Nas]:
    """A NAS that runs, with the node furnished for it."""
    (folder / "kept").mkdir(parents=True, exist_ok=True)
    # Whether a disk has what was written is nothing that a test can see; a busy one would be waited for.
    node.stand_in("sync", "exit 0")
    (folder / "bin").mkdir()
    shutil.copy(node.bin / "sync", folder / "bin")
    shell = f"/usr/bin/env CALLS=/dev/null PATH={folder}/bin:/usr/bin:/bin /bin/sh"
    made = Nas(folder, free_port(), keygen(folder / "node-key"), node.library / "imagesmith-receive", shell)
    keygen(folder / "host")
    made.authorize()
    with sshd(made):
        furnish(node, made)
        yield made


@contextmanager
def sshd(made: Nas) -> Iterator[subprocess.Popen[bytes]]:
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    config = made.folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {made.port}\nHostKey {made.folder}/host\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {made.folder}/authorized_keys\nPasswordAuthentication no\nUsePAM no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
    )
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=(made.folder / "log").open("ab"))
    try:
        _listens(made, process)
        yield process
    finally:
        process.terminate()
        process.wait()


def furnish(node: NodeFolder, made: Nas, **settings: str) -> None:
    """The node's own share: its key, the NAS's, its settings; and a root with files of all sorts."""
    store = made.store
    conf = {
        "BACKUP_NODE": NODE, "BACKUP_CLUSTER": "rack", "BACKUP_CA": CA, "BACKUP_DUTY": "agent",
        "BACKUP_STORE": "ssh", "BACKUP_WHERE": f"{store.user}@{store.host}:{store.folder}", "BACKUP_USER": store.user,
        "BACKUP_HOST": store.host, "BACKUP_PORT": str(store.port), "BACKUP_DAILY": "7", "BACKUP_WEEKLY": "4",
    }  # fmt: skip
    node.write("etc/imagesmith/backup.conf", assignments({**conf, **settings}).decode())
    node.write("etc/imagesmith/backup.never", "".join(f"{path}\n" for path in NEVER_LAID))
    node.write("etc/imagesmith/backup/key", made.key.read_text()).chmod(0o600)
    node.write("etc/imagesmith/backup/known_hosts", f"imagesmith-store {store.host_key}\n")
    node.write("etc/imagesmith/backup/signers", f"{NODE} {made.key.with_suffix('.pub').read_text()}")


def _listens(made: Nas, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, (made.folder / "log").read_text()
        try:
            socket.create_connection(("127.0.0.1", made.port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError((made.folder / "log").read_text())


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own in memory, mounted at the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["/bin/umount", "-l", folder], check=True)
