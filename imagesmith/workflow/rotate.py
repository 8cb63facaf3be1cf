"""A secret of a vault drawn anew, and what a person does after it: nothing here reaches a running node.

Called by `cli.vault`. The vault is opened for one of a cluster's authorities alone, which the intermediate signs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.identity.authorities import Ca
from imagesmith.planning.rotating import can_be_applied
from imagesmith.profile.schema import did_you_mean
from imagesmith.vault import authorities, signed, store
from imagesmith.vault.draw import Drawn, draw
from imagesmith.vault.index import Index, read_index
from imagesmith.vault.names import (
    AGENT_TOKEN,
    CA,
    CLIENT_CA,
    FOUNDED,
    FOUNDER,
    LEAVES,
    OLD,
    ROTATING,
    SERVER_CA,
    SERVER_TOKEN,
    SERVICE_KEY,
    UPPER,
    ends_with_cluster,
    is_authority,
    is_backup_identity,
    is_signed,
)
from imagesmith.workflow.vault import Opening, no_more

_STAGE = (
    f"imagesmith vault export {CA} FOLDER/tls, carry FOLDER to a server, there `k3s certificate rotate-ca "
    "--path=FOLDER`, and restart k3s on all nodes, servers first"
)


def rotate(
    folder: Path, name: str, opening: Opening, *, new_cluster: bool = False, begins: bool = False
) -> tuple[str, ...]:
    """Draw a secret anew, whose name it gives; the one before is kept under NAME.old.

    `cluster/ca` is all authorities together, and asks for `new_cluster`. What nodes or a cluster that run may have is
    not drawn once more before all of them have it, since NAME.old is what they go by; `begins`: they do run, and get it
    next. What opens backups is not drawn once more while NAME.old is there. Raises UsageError where there is none.
    """
    if name.endswith(OLD):
        raise UsageError(f"{name} is what another secret was before", hint=f"rotate {name.removesuffix(OLD)}")
    if name == CA or name in UPPER:
        return _all_authorities(folder, name, new_cluster=new_cluster)
    if new_cluster:
        raise UsageError(f"{name} alone makes no new cluster", hint=f"imagesmith vault rotate {CA} --new-cluster")
    refuse_unknown(folder, name)
    refuse_begun(folder, name)
    facts = {ROTATING + name: store.now()} if begins or _may_be_in_use(folder, name) else {}
    if name in LEAVES.values():
        _one_authority(folder, name, opening, facts)
        return (name,)
    drawn = _signed_anew(folder, name, opening) if is_signed(name) else draw(name, opening.listener)
    with store.changing(folder) as change:
        refuse_second_old(change.index, name, folder)
        change.keep_old(name)
        change.put(name, drawn)
        change.remember(facts)
    return (name,)


def refuse_unknown(folder: Path, name: str) -> None:
    """Raises UsageError for what the vault does not have, with what may have been meant."""
    kept = [one for one in read_index(folder).secrets if not one.endswith(OLD)]
    if name not in kept:
        raise UsageError(
            f"the vault has no {name[:80]}{did_you_mean(name, [*kept, CA])}", where=str(folder),
            hint="imagesmith vault list shows what it has",
        )  # fmt: skip


def _signed_anew(folder: Path, name: str, opening: Opening) -> Drawn:
    opened = opening.vault(folder)
    client = signed.client_authority(opened.index.secrets[CLIENT_CA].public, opened.open(CLIENT_CA))
    return signed.signed(name, client)


def refuse_begun(folder: Path, name: str) -> None:
    """Raises UsageError where nodes are still to get what was drawn last: what they have would be in no vault."""
    when = read_index(folder).facts.get(ROTATING + name)
    if not when:
        return
    end = f"imagesmith vault rotate {name} --done"
    if not can_be_applied(name):
        raise UsageError(
            f"{name} was drawn anew at {when}, and what has the one before may have it still: another one now would "
            f"lose that one, which is {name}{OLD}",
            where=str(folder),
            hint=f"what must follow: {what_follows(name)}. Once that is done: {end}",
        )
    gone = "; where that cluster is no more: imagesmith vault founded --forget" if ends_with_cluster(name) else ""
    raise UsageError(
        f"{name} was drawn anew at {when}, and not every node has it yet, as far as is known: another one now "
        "would lock nodes out",
        where=str(folder),
        hint=f"imagesmith vault rotate {name} --apply --resume goes on; where all nodes have it, by new cards: "
        f"{end}{gone}",
    )


def refuse_second_old(index: Index, name: str, folder: Path) -> None:
    """Raises UsageError where another would take the place of a key that opens backups, as nothing else does."""
    if is_backup_identity(name) and name + OLD in index.secrets:
        raise UsageError(
            f"{name}{OLD} opens backups from before {name} came, and another one now would take its place: they could "
            "never be opened again",
            where=str(folder),
            hint=f"once none of them is left, nor a node that still seals by it: imagesmith vault rotate {name}{OLD} "
            f"--done lets go of it; imagesmith vault export {name}{OLD} FILE keeps it elsewhere",
        )


def done(folder: Path, name: str) -> None:
    """Remember that every node has what was drawn last. Of a key that opened backups, by its name with .old: let go of
    it. Raises UsageError where nothing of the name waits for that."""
    with store.changing(folder) as change:
        if name.endswith(OLD) and is_backup_identity(name):
            if name not in change.index.secrets:
                raise UsageError(f"the vault has no {name}", where=str(folder), hint="imagesmith vault list")
            change.drop(name)
            return
        if ROTATING + name not in change.index.facts:
            hint = "--done goes with what was rotated"
            if is_backup_identity(name) and name + OLD in change.index.secrets:
                hint = f"imagesmith vault rotate {name}{OLD} --done lets go of what opened its backups before"
            raise UsageError(f"no node waits for {name}", where=str(folder), hint=hint)
        change.remember({ROTATING + name: ""})


def what_follows(name: str) -> str:
    """What a person does once a secret was drawn anew, honestly."""
    if name.startswith("nodes/"):
        return _follows_of_node(name, name.split("/")[1])
    if name.startswith("addons/"):
        return (
            f"the database of {name.split('/')[1]} goes on with the old one ({name}{OLD}), and after the "
            "next imagesmith addons apply its site can't log in: change it in the database first (ALTER "
            "USER; docs/addons.md)"
        )
    if name == CA:
        return (
            "a running cluster goes on with the old ones, and nothing that is built from now on joins it. The vault "
            "has forgotten that a cluster was founded: start anew with new images for every node, switched on once the "
            "old cards are out. Or change the running cluster, and tell the vault that it is there (imagesmith vault "
            f"founded): {_STAGE} with --force; every node needs its new token before it is restarted, every pod "
            "a restart, everybody a new kubeconfig"
        )
    if name in LEAVES.values():
        return (
            "a running cluster goes on with the old one. The root is the same, so that tokens stay good, and so does "
            f"every certificate of the old one: this renews, it locks nobody out. To change it there: {_STAGE}"
        )
    return _follows_of_cluster(name)


def _follows_of_node(name: str, node: str) -> str:
    if "/host-key." in name:
        return (
            f"{node} goes on with its old key. Build and flash it anew, or put the new one there yourself "
            f"(imagesmith vault export {name}); then write known_hosts anew: imagesmith known-hosts"
        )
    if is_backup_identity(name):
        return (
            f"{node} goes on sealing by its old one until it is built and flashed anew, and what it backed up before "
            f"needs {name}{OLD} to be restored (docs/backup.md): it stays until you let go of it by imagesmith vault "
            f"rotate {name}{OLD} --done"
        )
    if name.endswith("/backup-key"):
        return (
            f"{node} goes on with its old one: build and flash it anew, and give the NAS its new line in "
            "authorized_keys (imagesmith backup authorized-keys). What it signed before is no longer restored by "
            "imagesmith, but by hand (docs/backup.md)"
        )
    if name.endswith("/zerotier-identity"):
        return (
            f"{node} goes on as its old member: build its image anew, take the old member away on the network's page "
            "or controller (it has the node's address there), let the new one in by imagesmith vpn authorise, and "
            "flash the node. Where k3s goes over ZeroTier (vpn.zerotier.k3s) it is locked out of the cluster meanwhile"
        )
    if is_signed(name):
        return f"{node} goes on with the old one, which stays good until it ends: build and flash the node anew"
    return (
        "the server knows the node by the old password: build and flash the node anew, and before it joins: "
        f"kubectl -n kube-system delete secret {node}.node-password.k3s"
    )


def _follows_of_cluster(name: str) -> str:
    if name.startswith("cluster/ups-"):
        return (
            "the nodes go on with the old one, and one that is built from now on is refused by those of before: build "
            "and flash every node anew, or change it by hand on all of them (/etc/nut/upsd.users where the UPS is, the "
            "MONITOR lines of /etc/nut/upsmon.conf) and restart NUT there"
        )
    back = f"the old one comes back by imagesmith vault export {name}{OLD} FILE and vault import {name} FILE --replace"
    told = {
        SERVER_TOKEN: (
            "a running cluster goes on with the old one, and servers that are built from now on don't join it until it "
            "has the new one: on a server `k3s token rotate --new-token NEW`, then the new one in `token` of every "
            "server's /etc/rancher/k3s/config.yaml, and k3s restarted there. Snapshots of before need the old one"
        ),
        AGENT_TOKEN: (
            "a running cluster goes on with the old one, and agents that are built from now on don't join it until it "
            "has the new one: `agent-token` of every server's /etc/rancher/k3s/config.yaml, `token` of every agent's, "
            "and k3s restarted there, servers first"
        ),
        SERVICE_KEY: (
            "a running cluster goes on with the old one; changed there, every token of a service account ends, and "
            f"pods need a restart: {_STAGE}"
        ),
    }
    return f"{told[name]}; {back}" if name in told else "whoever uses it goes on with the old one"


def _all_authorities(folder: Path, name: str, *, new_cluster: bool) -> tuple[str, ...]:
    if name != CA or not new_cluster:
        raise UsageError(
            "a new root is a new cluster: what the old one signed, and every token, is worth nothing under it",
            hint=f"one of the five is renewed in place; all of it by: imagesmith vault rotate {CA} --new-cluster",
        )  # fmt: skip
    made = authorities.drawn(authorities.begins())
    with store.changing(folder) as change:
        used = ROTATING + CA in change.index.facts or _is_built(change.index)
        if LEAVES["server-ca"] not in change.index.secrets:
            raise UsageError(f"the vault has no {CA}", where=str(folder), hint="imagesmith vault list")
        authorities.put_all(change, made)
        # Else every image of now on would wait for a server under the new root, and none would found.
        no_more(change)
        change.remember({ROTATING + CA: store.now()} if used else {})
    return tuple(made)


def _one_authority(folder: Path, name: str, opening: Opening, facts: Mapping[str, str]) -> None:
    above = opening.vault(folder)
    if authorities.INTERMEDIATE not in above.index.secrets:
        raise UsageError(
            f"the vault has no {authorities.INTERMEDIATE}, which would sign it", where=str(folder),
            hint="these authorities were made elsewhere: renew them there, and import all of them",
        )  # fmt: skip
    ca = next(one for one in Ca if LEAVES[one] == name)
    made = authorities.leaf(ca, above.open_upper(authorities.INTERMEDIATE), authorities.begins())
    with store.changing(folder) as change:
        if change.index.secrets[authorities.INTERMEDIATE] != above.index.secrets[authorities.INTERMEDIATE]:
            raise UsageError("the vault was changed while it was being opened", where=str(folder), hint="run it again")
        change.keep_old(name)
        change.put(name, made)
        change.remember(facts)
        if name == SERVER_CA:
            change.remember(authorities.facts_of({name: made}))


def is_brought_by_hand(name: str) -> bool:
    """Whether nodes, or a database, may have what is under a name until a person has brought them another."""
    ours = name.startswith(("nodes/", "addons/", "cluster/"))
    others = (can_be_applied, is_signed, is_authority, is_backup_identity)
    return ours and not name.endswith(OLD) and not any(is_other(name) for is_other in others)


def _may_be_in_use(folder: Path, name: str) -> bool:
    """Whether what runs may have what is under a name, so that NAME.old is what it goes by once that is replaced."""
    if is_brought_by_hand(name):
        return True
    return can_be_applied(name) and (name.startswith("nodes/") or _is_built(read_index(folder)))


def _is_built(index: Index) -> bool:
    """Whether there is a cluster, or an image that founds it."""
    return FOUNDED in index.facts or FOUNDER in index.facts
