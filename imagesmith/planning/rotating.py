"""What a running cluster needs when a secret of its vault was drawn anew. Called by `workflow.rotation`. Pure.

What is behind the names that steps send is the vault's, or is made of it: the caller knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.planning.life import ByHand, Change, Put, Run, Step, answers, is_ready, restart

STAGED = "/var/lib/rancher/k3s/imagesmith-rotate"
"""Where files lie for `k3s certificate rotate-ca`, which takes those that are there and keeps the others."""
SERVER_TOKEN_FILE = "/var/lib/rancher/k3s/server/token"
SERVICE_KEY_FILE = "/var/lib/rancher/k3s/server/tls/service.key"
_LEAF = re.compile(r"cluster/ca/(server|client|request-header|etcd-peer|etcd-server)")
_HOST_KEY = re.compile(r"nodes/([^/]+)/host-key\.(ed25519|ecdsa)")
_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.S)
_STAGED_NAMES = {"etcd-peer": "etcd/peer-ca", "etcd-server": "etcd/server-ca"}
_ONE_BY_ONE = "the nodes after it were not restarted; once the cause is gone, the same command with --resume goes on"


def kind_of(name: str) -> str:
    """`agent-token`, `server-token`, `leaf`, `service-key` or `host-key`. UsageError for what is none of them."""
    if name in ("cluster/agent-token", "cluster/server-token"):
        return name.removeprefix("cluster/")
    if name == "cluster/service-account-key":
        return "service-key"
    if _LEAF.fullmatch(name):
        return "leaf"
    if _HOST_KEY.fullmatch(name):
        return "host-key"
    if name in ("cluster/ca/root", "cluster/ca/intermediate"):
        hint = "see docs/life.md, a lost server card: the authorities are drawn anew and every node joins anew"
        raise UsageError(f"{name} is not changed in a cluster that runs", hint=hint)
    raise UsageError(f"nobody knows what a running cluster would do with {name}", hint="leave --apply away")


def can_be_applied(name: str) -> bool:
    """Whether it is known what a running node does with another."""
    try:
        kind_of(name)
    except UsageError:
        return False
    return True


def host_key_of(name: str) -> tuple[str, str]:
    """The node and the kind of key that a name of a host key means."""
    found = _HOST_KEY.fullmatch(name)
    if not found:
        raise ValueError(name)
    return found[1], found[2]


def staged_name(name: str) -> str:
    """Under which name k3s has an authority of the vault: `cluster/ca/etcd-peer` is `etcd/peer-ca`."""
    short = name.removeprefix("cluster/ca/")
    return _STAGED_NAMES.get(short, f"{short}-ca")


def agent_token(duties: Mapping[str, str]) -> tuple[Step, ...]:
    """The servers first, so that no agent has a token that none of them takes."""
    steps: list[Step] = []
    for server in _servers(duties):
        steps.append(Change(server, "write the agents' new token", "agent-token", "new"))
        steps += _anew(server, duties[server], server)
    for agent in _agents(duties):
        steps.append(Change(agent, "write its new token", "token", "new"))
        steps += _anew(agent, "agent", _servers(duties)[0])
    return tuple(steps)


def server_token(duties: Mapping[str, str]) -> tuple[Step, ...]:
    """After `ask_for_server_token`, and once the vault has what k3s drew."""
    steps: list[Step] = [Change(one, "write the servers' new token", "token", "new") for one in _servers(duties)]
    for server in _servers(duties):
        steps += _anew(server, duties[server], server)
    kept = "a snapshot of before is restored by the token of before, kept as cluster/server-token.old"
    steps.append(ByHand(f"imagesmith vault backup DIR; {kept}"))
    return tuple(steps)


def ask_for_server_token(server: str) -> Run:
    """k3s draws it by itself: given by us it would stand among the words of a process, which others on the node see."""
    return Run(server, "let k3s draw a new server token", ("k3s", "token", "rotate"), limit_s=120)


def authorities(duties: Mapping[str, str], files: Sequence[str]) -> tuple[Step, ...]:
    """New leaf authorities under the same root, or a new signing key: `files` below k3s's folder tls, sent by name."""
    server = _servers(duties)[0]
    folder = f"{STAGED}/tls"
    steps: list[Step] = [Run(server, "clear the folder for new authorities", ("rm", "-rf", STAGED))]
    for file in files:
        steps.append(Put(server, f"put {file} there", f"{folder}/{file}", 0o600, file))
    hint = f"nothing was changed in the cluster; {STAGED} on {server} may be removed. journalctl -u k3s tells more"
    load = ("k3s", "certificate", "rotate-ca", f"--path={STAGED}")
    steps.append(Run(server, "let k3s check and take them", load, limit_s=120, hint=hint))
    steps.append(Run(server, "remove the folder", ("rm", "-rf", STAGED)))
    for node in (*_servers(duties), *_agents(duties)):
        steps += _anew(node, duties[node], node if duties[node] != "agent" else server)
    return tuple(steps)


def host_key(node: str, kind: str, *, dropbear: bool) -> tuple[Step, ...]:
    """The key that the node shows from the next connection on; the step 62-access gives it to Dropbear."""
    path = f"/etc/ssh/ssh_host_{kind}_key"
    back = Run(node, "wait until it answers again", ("echo", "here"), until="here", limit_s=60)
    return (
        Put(node, f"write {path}", path, 0o600, "private"),
        Put(node, f"write {path}.pub", f"{path}.pub", 0o644, "public"),
        Run(node, "let sshd check its configuration", ("sshd", "-t")),
        Run(node, "let sshd read it", ("systemctl", "try-reload-or-restart", "ssh.service"), limit_s=60),
        back,
        *(
            (Run(node, "let Dropbear have it too", ("/usr/lib/imagesmith/steps/62-access",), limit_s=90), back)
            * dropbear
        ),
        ByHand("imagesmith known-hosts, and put its lines in the place of the old ones"),
    )


def service_keys(new: bytes, running: bytes, where: str) -> bytes:
    """The service accounts' new key, and after it the one by which tokens were signed until now.

    k3s signs by the first and checks by all. `running`: the file of a server, which has the new one already where this
    goes on. Raises ContentMalformed where no key is in it.
    """
    own = b"".join(new.split())
    keys = [found[0] + b"\n" for found in _KEY.finditer(running)]
    if not keys:
        raise ContentMalformed("there is no key of service accounts in it", where=where, hint="is it a server of k3s?")
    return b"".join([new, *[key for key in keys if b"".join(key.split()) != own][:1]])


def with_password(config: bytes, key: str, password: bytes, where: str) -> bytes:
    """k3s's config.yaml with another password in the token under `key`; its form and everything else stay.

    Raises UsageError where the file has no such line, and for a password that would need quotes of its own there.
    """
    if not re.fullmatch(rb"[!$%&()*+,./0-9;<=>?@A-Z^_a-z~-]+", password):
        raise UsageError("the new password has characters that YAML reads as more", where=where, hint="draw another")
    pattern = re.compile(rb"^(" + key.encode() + rb":[ \t]*)([\"']?)([^\s\"'#]+)([\"']?)[ \t]*$", re.M)
    found = pattern.findall(config)
    if len(found) != 1:
        what = "twice" if found else "not at all"
        hint = "the node's image was not made by this imagesmith, or somebody changed the file: change it by hand"
        raise UsageError(f"{key} stands there {what}", where=where, hint=hint)
    _, _, old, _ = found[0]
    full = re.fullmatch(rb"(K10[0-9a-f]{64}::[a-z]+:).+", old)
    new = (full[1] if full else b"") + password
    return pattern.sub(lambda match: match[1] + match[2] + new + match[4], config)


def _anew(node: str, duty: str, by: str) -> Iterable[Step]:
    yield restart(node, duty, _ONE_BY_ONE)
    if duty != "agent":
        yield answers(node, _ONE_BY_ONE)
    yield is_ready(by, node, hint=_ONE_BY_ONE)


def _servers(duties: Mapping[str, str]) -> list[str]:
    return [node for node, duty in duties.items() if duty in ("founder", "server")]


def _agents(duties: Mapping[str, str]) -> list[str]:
    return [node for node, duty in duties.items() if duty == "agent"]
