"""What it means when ssh, or sudo on a node, fails: a NodeUnreachable with what to do. Pure; called by `session`."""

from __future__ import annotations

import re

from imagesmith.errors import NodeUnreachable
from imagesmith.remote.way import Way

SSH_FAILED = 255
"""ssh's own exit code where there was no connection, or it broke."""
_OTHER_KEY = re.compile(r"host key verification failed|identification has changed|no matching host key type", re.I)
_NO_ENTRY = re.compile(r"permission denied|too many authentication failures", re.I)
_ASKS = re.compile(r"^sudo: .*(password is required|terminal is required|no askpass)", re.I | re.M)
_MAY_NOT = re.compile(r"(is not in the sudoers file|is not allowed to (execute|run)|may not run sudo)", re.I)


def of_ssh(way: Way, stderr: str) -> NodeUnreachable:
    """ssh ended with SSH_FAILED."""
    told = _last_line(stderr)
    if _OTHER_KEY.search(stderr):
        return NodeUnreachable(
            _other_key(way),
            where=way.node,
            hint="nothing was sent to it. Is it another machine at this address, or a card that was built without this "
            "vault? A key that was rotated in the vault alone is put on the node by imagesmith vault rotate --apply",
        )
    if _NO_ENTRY.search(stderr):
        return NodeUnreachable(
            f"it lets {way.user} not in with the keys that ssh offers",
            where=way.node,
            hint="its ssh_keys are in the inventory: load the private one (ssh-add), or name it: --identity FILE",
        )
    return NodeUnreachable(
        f"it does not answer at {way.host}, port {way.port}: {told or 'ssh says nothing'}",
        where=way.node,
        hint="is it switched on, on this network, and at this address? ssh tells more: ssh -v",
    )


def of_silence(way: Way, doing: str, limit_s: float) -> NodeUnreachable:
    """A command did not end in time."""
    return NodeUnreachable(
        f"it did not finish in {limit_s:.0f} s: {doing}",
        where=way.node,
        hint="it is slow or hangs; look at it: ssh to it, then journalctl -e",
    )


def of_sudo(way: Way, stderr: str) -> NodeUnreachable | None:
    """What sudo refused; None where it is not sudo that failed."""
    if _ASKS.search(stderr):
        return NodeUnreachable(
            f"sudo asks {way.user} for a password there, and nobody can type it",
            where=way.node,
            hint="sudo_nopasswd: true in the inventory lets the user's key act as root (it counts for images built "
            f"from then on); on a node that runs: echo '{way.user} ALL=(ALL) NOPASSWD: ALL' | sudo tee "
            "/etc/sudoers.d/90-imagesmith-remote",
        )
    if _MAY_NOT.search(stderr):
        return NodeUnreachable(f"{way.user} may not use sudo there", where=way.node, hint="log in as who may")
    return None


def of_command(way: Way, doing: str, code: int, stderr: str) -> NodeUnreachable:
    """The command itself failed on the node."""
    told = "\n".join([line for line in stderr.splitlines() if line.strip()][-5:]) or "no message"
    return NodeUnreachable(f"{doing}: exit code {code}: {told}", where=way.node)


def _other_key(way: Way) -> str:
    if way.known:
        return f"what answers at {way.host} does not have the host key that the vault keeps for this node"
    return f"your known_hosts has no key, or another one, for {way.host}, and there is no vault that has one"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
