"""What is done to nodes that run, as values: shown before it is done, done by `workflow.doing`.

Called by `planning.replacing`, `planning.upgrading` and `planning.rotating`, which put steps together. Pure. No secret
is in a step: what a step sends has a name, and whoever does it has what is behind the name.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from imagesmith.cluster.k3s import unit_of

KUBECTL = ("k3s", "kubectl")
"""k3s's own, on a server, as root."""
CONFIG = "/etc/rancher/k3s/config.yaml"
RESTART = ("systemctl", "restart")
READY_S = 600
"""How long a node may take from its restart until it is Ready: a slow card loads all of k3s's containers anew."""
_READY = "{.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=='Ready')].status}"


@dataclass(frozen=True, slots=True)
class Run:
    """A program run on a node, as root."""

    node: str
    doing: str
    argv: tuple[str, ...]
    says: str = ""
    """What its output must be, as a regular expression for all of it."""
    until: str = ""
    """The same, but it is run again until then."""
    limit_s: int = 30
    """In which it must be done, and with `until` in which that must come about."""
    sends: str = ""
    """The name of what it gets on its standard input."""
    hint: str = ""
    """What to do where it fails."""


@dataclass(frozen=True, slots=True)
class Change:
    """A password in k3s's configuration on a node is another from now on; the file stays root's own."""

    node: str
    doing: str
    key: str
    """`token` or `agent-token`."""
    sends: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Put:
    """A file of root's own, there whole or as it was before."""

    node: str
    doing: str
    path: str
    mode: int
    sends: str
    """The name of what is in it."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ByHand:
    """What a person does."""

    doing: str


Step = Run | Change | Put | ByHand


def shown(step: Step) -> str:
    """A line about a step, with the command where there is one that could be typed."""
    if isinstance(step, ByHand):
        return f"you: {step.doing}"
    if isinstance(step, Change):
        return f"{step.node}: {step.doing} ({step.key} in {CONFIG})"
    if isinstance(step, Put):
        return f"{step.node}: {step.doing}"
    # A script that belongs to us tells a person less than what it is for.
    command = "" if step.argv[:2] == ("sh", "-c") else f" ({shlex.join(step.argv)})"
    return f"{step.node}: {step.doing}{command}"


def kubectl(server: str, doing: str, *words: str, until: str = "", limit_s: int = 30, hint: str = "") -> Run:
    """Something asked of the cluster, through one of its servers."""
    return Run(server, doing, (*KUBECTL, *words), until=until, limit_s=limit_s, hint=hint)


def restart(node: str, duty: str, hint: str = "") -> Run:
    """Over once k3s says that it is ready, which its gates on the node may put off."""
    return Run(node, "restart k3s", (*RESTART, unit_of(duty)), limit_s=READY_S, hint=hint)


def answers(server: str, hint: str = "") -> Run:
    """A server's API is ready, all of it."""
    return kubectl(
        server, "wait until its API is ready", "get", "--raw", "/readyz", until="ok", limit_s=READY_S, hint=hint
    )


def is_ready(server: str, node: str, version: str = "", hint: str = "") -> Run:
    """The cluster says that a node is Ready, in this version where one is given."""
    wanted = (version.replace(".", r"\.").replace("+", r"\+")) if version else r"\S+"
    words = ("get", "node", node, "-o", f"jsonpath={_READY}")
    doing = f"wait until {node} is Ready" + (f" with {version}" if version else "")
    return kubectl(server, doing, *words, until=rf"{wanted} True", limit_s=READY_S, hint=hint)
