"""A secret that was drawn anew in the vault, brought to the nodes that run. Called by `cli.vault`, after `rotate`.

It goes on where it stopped: what a node has already is left as it is, restarts are harmless. Until all nodes have it
the vault remembers that it was begun, and nothing is drawn once more.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.events import Listener, unheard
from imagesmith.identity import tokens
from imagesmith.planning import rotating
from imagesmith.planning.life import Step
from imagesmith.remote.session import Session
from imagesmith.secret import Secret
from imagesmith.vault import store
from imagesmith.vault.index import read_index
from imagesmith.vault.names import LEAVES, OLD, ROTATING, SERVER_TOKEN
from imagesmith.vault.store import Opened
from imagesmith.workflow.doing import Agree, Sent, agreed, do
from imagesmith.workflow.foreign import take
from imagesmith.workflow.nodes import Rack, asked_cluster, each, reached
from imagesmith.workflow.rotate import refuse_begun, refuse_unknown, rotate
from imagesmith.workflow.vault import Opening


def apply(
    of: Rack, name: str, opening: Opening, agree: Agree, listener: Listener = unheard, *, again: bool = False
) -> tuple[str, ...]:
    """Draw `name` anew and bring it to the running nodes; what is left to a person.

    `again`: it was drawn before, and only the nodes are to get it. Raises UsageError, also where it was begun and is
    not done; Interrupted, NodeUnreachable. Nothing is drawn before all nodes answered and it was agreed.
    """
    if of.vault is None:
        raise UsageError("there is no vault, so there is nothing to draw anew", hint="imagesmith vault create")
    refuse_unknown(of.vault, name)
    kind = rotating.kind_of(name)
    if not again:
        refuse_begun(of.vault, name)
    if kind == "host-key":
        return _host_key(of, name, opening, agree, listener, again)
    with reached(of) as nodes:
        _all_answer(of, nodes)
        steps = _steps(of, name, kind)
        # Before anything is drawn: without it, every pod's token would end.
        running = nodes.read(of.servers[0], rotating.SERVICE_KEY_FILE) if kind == "service-key" else Secret(b"")
        agreed(steps, agree)
        if kind == "server-token":
            if _has_token_of_before(of, nodes, opening, again):
                _begin(of.vault, name, keep_old=True)
                do(nodes, steps[:1], listener=listener)
                _adopt_server_token(of, nodes, opening)
            steps = steps[1:]
        elif not again:
            rotate(of.vault, name, opening, begins=True)
        _begin(of.vault, name)
        left = do(nodes, steps, _sent(of, name, kind, opening, running), listener)
    _end(of.vault, name)
    return left


def _begin(folder: Path, name: str, *, keep_old: bool = False) -> None:
    """Remembered before a node has it. `keep_old`: by that it is known later whether k3s has drawn another."""
    with store.changing(folder) as change:
        if keep_old:
            change.keep_old(name)
        if ROTATING + name not in change.index.facts:
            change.remember({ROTATING + name: store.now()})


def _end(folder: Path, name: str) -> None:
    with store.changing(folder) as change:
        change.remember({ROTATING + name: ""})


def _steps(of: Rack, name: str, kind: str) -> tuple[Step, ...]:
    if kind == "agent-token":
        return rotating.agent_token(of.duties)
    if kind == "server-token":
        return (rotating.ask_for_server_token(of.servers[0]), *rotating.server_token(of.duties))
    return rotating.authorities(of.duties, _files(name, kind))


def _files(name: str, kind: str) -> tuple[str, ...]:
    if kind == "service-key":
        return ("service.key",)
    short = next(ca for ca, own in LEAVES.items() if own == name)
    return (f"{short}.crt", f"{short}.key")


def _sent(of: Rack, name: str, kind: str, opening: Opening, running: Secret) -> Sent:
    """What the steps send, by its name there. `running`: the keys of service accounts that the cluster has now."""
    assert of.vault
    opened = _opened_now(of.vault, opening)
    index = opened.index
    new = opened.open(name)
    if kind in ("agent-token", "server-token"):
        return {"new": new}
    if kind == "service-key":
        where = f"{of.servers[0]}:{rotating.SERVICE_KEY_FILE}"
        return {"service.key": Secret(rotating.service_keys(new.reveal(), running.reveal(), where))}
    certificate, key = _files(name, kind)
    return {certificate: index.secrets[name].public.encode(), key: new}


def _opened_now(folder: Path, opening: Opening) -> Opened:
    """The vault as it is after what was drawn a moment ago."""
    return dataclasses.replace(opening.vault(folder), index=read_index(folder))


def _has_token_of_before(of: Rack, nodes: Session, opening: Opening, again: bool) -> bool:
    """Whether k3s is still to draw another server token; the vault has then what the cluster has now.

    `again`: it may have drawn one before, which the vault may have or not. Whatever the vault drew by itself is none
    that a cluster ever had.
    """
    assert of.vault
    opened = _opened_now(of.vault, opening)
    before = SERVER_TOKEN + OLD
    old = opened.open(before).reveal() if before in opened.index.secrets else b""
    return _adopt_server_token(of, nodes, opening) == old or not again


def _adopt_server_token(of: Rack, nodes: Session, opening: Opening) -> bytes:
    """The vault has what the cluster has, before any node is changed; that. Raises ContentMalformed."""
    assert of.vault
    server = of.servers[0]
    token = tokens.parse(nodes.read(server, rotating.SERVER_TOKEN_FILE), f"{server}:{rotating.SERVER_TOKEN_FILE}")
    if not isinstance(token, tokens.Token):
        raise ContentMalformed("the server's token is a bootstrap token", where=server)
    if _opened_now(of.vault, opening).open(SERVER_TOKEN).reveal() != token.password.reveal():
        take(of.vault, SERVER_TOKEN, token.password, server, replace=True)
    return token.password.reveal()


def _all_answer(of: Rack, nodes: Session) -> None:
    """A node that is away now would be left behind, with a secret that nobody takes any more."""
    if not of.servers:
        raise UsageError("this inventory has no k3s", where=of.cluster.path, hint="leave --apply away")
    asked_cluster(nodes, of.servers)
    for silence in each(of.duties, nodes.answers).values():
        if silence is not None:
            raise silence.within("and all nodes must answer, or it would be left behind; nothing was changed")


def _host_key(of: Rack, name: str, opening: Opening, agree: Agree, listener: Listener, again: bool) -> tuple[str, ...]:
    node, kind = rotating.host_key_of(name)
    of.node(node)
    assert of.vault
    steps = rotating.host_key(node, kind, dropbear=of.cluster.ssh.server != "openssh")
    with reached(of, old_keys_too=again) as nodes:
        nodes.run(node, ("true",))
        agreed(steps, agree)
    if not again:
        rotate(of.vault, name, opening, begins=True)
    with reached(of, old_keys_too=True) as nodes:
        opened = _opened_now(of.vault, opening)
        public = opened.index.secrets[name].public.encode() + b"\n"
        left = do(nodes, steps, {"private": opened.open(name), "public": public}, listener)
    with reached(of) as nodes:
        nodes.run(node, ("true",), doing="show its new key")
    _end(of.vault, name)
    return left
