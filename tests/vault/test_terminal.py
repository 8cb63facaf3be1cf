"""At a terminal: the passphrase is asked for once, is not shown, and nothing may change while it is typed."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import Callable

import pytest
from vault.conftest import PASSPHRASE, Rack

from imagesmith.workflow.rotate import rotate
from imagesmith.workflow.vault import PASSPHRASE_FILE, Opening

HOST_KEY = "nodes/node-1/host-key.ed25519"
MEMBERS = """\
schema: 1
name: home
k3s: {}
vpn: {zerotier: {network: 8056c2e21c000001}}
nodes:
  - {name: node-1, profile: x86-master, address: 192.168.1.10/24}
  - {name: node-2, profile: rpi4-worker, address: 192.168.1.11/24}
"""


def typed(rack: Rack, *words: str, answers: int = 1, meanwhile: Callable[[], object] = lambda: None) -> tuple[int, str]:
    """`imagesmith WORDS` on a terminal of its own, the passphrase typed when it asks; exit code and screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(rack.folder)
        env = {name: value for name, value in rack.env.items() if name != PASSPHRASE_FILE}
        os.execve(sys.executable, [sys.executable, "-m", "imagesmith", *words], env)
    # One of no columns is shown no bar.
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    screen, given = b"", 0
    try:
        while True:
            piece = os.read(terminal, 4096)
            screen += piece
            if given < answers and (b"assphrase" in piece or b"Once more" in piece):
                given += 1
                meanwhile()
                os.write(terminal, PASSPHRASE.encode() + b"\n")
            if not piece:
                break
    except OSError:
        pass  # the terminal's other end is closed
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode()


def test_a_new_passphrase_is_typed_twice_and_never_shown(rack: Rack) -> None:
    code, screen = typed(rack, "vault", "create", answers=2)
    assert code == 0, screen
    assert screen.count("passphrase for") == 1
    assert screen.count("Once more") == 1
    assert PASSPHRASE not in screen


@pytest.mark.slow
def test_a_search_for_identities_is_seen_before_the_first_is_found(rack: Rack) -> None:
    rack.inventory(MEMBERS)
    code, screen = typed(rack, "vault", "create", "--plain")
    assert code == 0, screen
    shown = [screen.index(one) for one in ("draw identities: 2 for ZeroTier", "| 0/2 [", "draw identities: 2 drawn")]
    assert shown == sorted(shown)


@pytest.mark.slow
def test_an_old_one_is_asked_for_once(rack: Rack) -> None:
    rack.create_by_passphrase()
    code, screen = typed(rack, "vault", "export", HOST_KEY, "key")
    assert code == 0, screen
    assert screen.count("Passphrase of") == 1
    assert PASSPHRASE not in screen


def test_a_secret_is_not_shown_on_a_terminal(rack: Rack) -> None:
    rack.create("--plain")
    code, screen = typed(rack, "vault", "export", HOST_KEY)
    assert code == 2
    assert "a secret is not shown on a terminal" in screen
    assert "OPENSSH" not in screen


@pytest.mark.slow
def test_what_changes_while_the_passphrase_is_typed_is_not_built_from(rack: Rack) -> None:
    """Else an image would have one half of a key of before, and the other of after."""
    rack.create_by_passphrase()
    unasked = Opening(lambda what, new: pytest.fail(what))
    code, screen = typed(rack, "build", "node-1", meanwhile=lambda: rotate(rack.vault, HOST_KEY, unasked))
    assert code == 2, screen
    assert "the vault was changed while it was being opened" in screen
    assert not rack.out.exists()
