"""What brings the add-ons of an inventory to nodes that run: files that differ, and what nobody wants any more.

Called by `workflow.addons`. Pure. k3s applies a file when it changes, and leaves what it made alone when the file goes:
so what is no longer wanted is deleted by name. A volume is in a file of its own, so that only a step that says so
deletes what is in it; where it lies and how large it is can't be changed later, nor what a storage is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imagesmith.cluster.addons.dumps import HOOKS
from imagesmith.cluster.addons.manifests import ADDON, BETWEEN, CHART, OWN, STORAGE, VOLUME
from imagesmith.cluster.addons.metrics import TIMER
from imagesmith.cluster.vip import MANIFESTS
from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.model.addons import Kept, NfsStorage
from imagesmith.planning.life import ByHand, Put, Run, Step, kubectl

MOUNTS_NFS = "mount.nfs"
"""What a node says that can mount a NAS's folder."""
SURVEY = """\
digest() { sha256sum <"$1" | cut -c1-64; }
of() { sed -n "s/^ *$1: //p" "$2" | head -n 1 | tr -d '"'; }
for file in "$1"/imagesmith-*.yaml; do [ ! -f "$file" ] || echo "manifest $(digest "$file") ${file##*/}"; done
for file in "$1"/imagesmith-volume-*.yaml; do
    [ ! -f "$file" ] || echo "volume $(of storageClassName "$file") $(of storage "$file") ${file##*/}"
done
# Of each storage its pod is told the server and the path, and its class has the version among its options.
[ ! -f "$1/imagesmith-storage.yaml" ] || awk -F '"' '
    /^kind:/ { class = ($2 == "StorageClass"); version = "best" }
    /- name: "NFS_(SERVER|PATH)"/ { told = $2; getline; of[told] = $2 }
    class && /^  name:/ { name = $2 }
    class && /^  - "nfsvers=/ { version = substr($2, 9) }
    class && /^volumeBindingMode:/ { print "storage", name, of["NFS_SERVER"], of["NFS_PATH"], version }
' "$1/imagesmith-storage.yaml"
for file in "$2"/addon-*.sh; do [ ! -f "$file" ] || echo "hook $(digest "$file") ${file##*/}"; done
shift 2
number=0
for file in "$@"; do
    [ ! -f "$file" ] || echo "file $(digest "$file") $number"
    number=$((number + 1))
done
if systemctl is-enabled -q imagesmith-metrics.timer && systemctl is-active -q imagesmith-metrics.timer; then
    echo tells
fi 2>/dev/null
if command -v mount.nfs >/dev/null || [ -x /usr/sbin/mount.nfs ] || [ -x /sbin/mount.nfs ]; then echo mount.nfs; fi
echo end
"""
"""Run on a node: digests of what is there. The files of our folders by name, others by their place among the words."""
_DELETE_S = 300
_KIND = {ADDON: "the add-on", CHART: "the chart", OWN: "your manifest", VOLUME: "the volume", STORAGE: "the storage"}
"""In the order in which they go: what makes folders on a NAS is there until nobody has one."""


@dataclass(frozen=True, slots=True)
class There:
    """What a node has."""

    digests: Mapping[str, str]
    mounts_nfs: bool = False
    volumes: Mapping[str, Kept] = field(default_factory=dict)
    """As they were made, by their files."""
    tells: bool = False
    """It tells its exporter of itself, every now and then."""
    storage: Mapping[str, NfsStorage] = field(default_factory=dict)
    """By their names, as they were made."""


@dataclass(frozen=True, slots=True)
class File:
    """What a node is to have: a digest, since its content may be secret."""

    path: str
    digest: str
    mode: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be, on each node."""

    files: Mapping[str, tuple[File, ...]]
    """By node; their contents are sent under the names that `sent_as` gives."""
    servers: tuple[str, ...]
    storage: tuple[NfsStorage, ...] = ()
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of add-ons, for a person who puts them there for the first time."""
    volumes: Mapping[str, Kept] = field(default_factory=dict)
    """By their files."""


def survey_argv(paths: Iterable[str]) -> tuple[str, ...]:
    return ("sh", "-c", SURVEY, "sh", MANIFESTS, HOOKS, *paths)


def read_survey(output: bytes, where: str, paths: Sequence[str]) -> There:
    """What a node said that was asked for `paths` beside. Raises ContentMalformed where it is cut off."""
    lines = output.decode("utf-8", "replace").splitlines()
    if not lines or lines[-1] != "end":
        raise ContentMalformed("its answer is cut off, or is none", where=where, hint="try again")
    digests = {}
    for match in (re.fullmatch(r"(manifest|hook|file) ([0-9a-f]{64}) (\S+)", line) for line in lines):
        if match and match[1] == "file":
            digests[paths[int(match[3])]] = match[2]
        elif match:
            digests[f"{MANIFESTS if match[1] == 'manifest' else HOOKS}/{match[3]}"] = match[2]
    told = (re.fullmatch(r"volume ([A-Za-z0-9.-]+) ([A-Za-z0-9.]+) (\S+)", line) for line in lines)
    volumes = {f"{MANIFESTS}/{match[3]}": Kept(match[1], match[2]) for match in told if match}
    return There(digests, MOUNTS_NFS in lines, volumes, "tells" in lines, _told_storage(lines))


def _told_storage(lines: Iterable[str]) -> dict[str, NfsStorage]:
    told = (re.fullmatch(r"storage ([a-z0-9.-]+) (\S+) (/\S*) (best|[0-9.]+)", line) for line in lines)
    made = (NfsStorage(one[1], one[2], one[3], "" if one[4] == "best" else one[4]) for one in told if one)
    return {one.name: one for one in made}


def sent_as(node: str, path: str) -> str:
    """The name of what a file's step sends."""
    return f"{node}:{path}"


def apply_steps(wanted: Wanted, there: Mapping[str, There]) -> tuple[Step, ...]:
    """What is no longer wanted goes first, so that its host name is free again; nothing where all is as it is to be.

    A volume of an add-on that stays goes last, since k3s can't delete it while a pod has it. Raises UsageError where a
    storage or a volume would have to be another.
    """
    _refuse_other_storage(wanted, there)
    stays, told = _other_volumes(wanted, there)
    gone = _gone(wanted, there)
    held = [path for path in gone if _stem(path).startswith(VOLUME) and _addon_of(path) in _addons(wanted)]
    steps: list[Step] = [step for path in gone if path not in held for step in _removal(path, wanted, there)]
    written = [step for node in wanted.files for step in _written(node, wanted, there[node], stays)]
    steps += written
    steps += [step for path in held for step in _removal(path, wanted, there)]
    unable = [node for node in wanted.files if wanted.storage and not there[node].mounts_nfs]
    if unable:
        nodes = ", ".join(unable)
        steps.append(
            ByHand(f"on {nodes}: sudo apt-get install nfs-common; without it no volume of a NAS is mounted there")
        )
    changed = {_stem(step.path) for step in written if isinstance(step, Put)}
    new = [name for name in wanted.notes if f"{ADDON}{name}" in changed]
    return (*steps, *told, *(ByHand(f"{name}: {note}") for name in new for note in wanted.notes[name]))


def _written(node: str, wanted: Wanted, there: There, stays: Collection[str]) -> Iterable[Step]:
    """What a node's files take but those that stay as they are, and its timer, which nobody had been at yet where an
    apply was stopped after the files were written."""
    for file in wanted.files[node]:
        if file.path not in stays and there.digests.get(file.path) != file.digest:
            yield Put(node, f"write {file.path}", file.path, file.mode, sent_as(node, file.path))
    tells = any(file.path.endswith(f"/{TIMER}") for file in wanted.files[node])
    if tells and not there.tells:
        script = f"systemctl daemon-reload && systemctl enable --now {TIMER}"
        yield Run(node, "let it tell of its UPS and its backup", ("sh", "-c", script), limit_s=60)
    elif there.tells and not tells:
        argv = ("systemctl", "disable", "--now", TIMER)
        yield Run(node, "let it tell no more of its UPS and its backup", argv, limit_s=60)


def _refuse_other_storage(wanted: Wanted, there: Mapping[str, There]) -> None:
    """Kubernetes lets nobody change a StorageClass, and volumes that are there stay on the server they were made on.

    So k3s would try it for ever, or some volumes of one storage be on one NAS and some on another.
    """
    others = []
    for storage in wanted.storage:
        name = storage.name
        made = next((there[node].storage[name] for node in wanted.servers if name in there[node].storage), storage)
        if made != storage:
            others.append((name, f"{name} is {_nfs(made)}, and wanted as {_nfs(storage)}"))
    if not others:
        return
    names = dict(others)
    on_it = {_addon_of(path): None for path, kept in wanted.volumes.items() if kept.storage_class in names}
    hint = (
        f"leave it as it was, and write the other one beside it under a new name. Then take {', '.join(on_it)} out of "
        "the inventory, imagesmith addons apply, copy the folders on the NAS, and put it back with the new name as its "
        "`storage`"
    )
    if not on_it:
        hint = (
            f"no add-on keeps anything there: take {', '.join(names)} out of `storage`, imagesmith addons apply, and "
            "put it back as you want it"
        )
    raise UsageError(
        f"a storage stays what it was made as: {'; '.join(names.values())}; nothing was changed",
        hint=f"{hint}: see docs/addons.md, Another NAS",
    )


def _nfs(storage: NfsStorage) -> str:
    version = f"version {storage.version}" if storage.version else "the best version of both"
    return f"{storage.server}:{storage.path} by {version}"


def _other_volumes(wanted: Wanted, there: Mapping[str, There]) -> tuple[set[str], list[ByHand]]:
    """The files of volumes that are wanted larger or smaller than they are, which stay so, and what to say of that.

    Raises UsageError where one is wanted elsewhere: Kubernetes refuses that, and k3s would try it for ever.
    """
    stays, told, elsewhere = set(), [], []
    for path, kept in wanted.volumes.items():
        made = next((there[node].volumes[path] for node in wanted.servers if path in there[node].volumes), kept)
        name = _named(path)
        if made.storage_class != kept.storage_class:
            elsewhere.append(f"{name} is on {made.storage_class}, and wanted on {kept.storage_class}")
        elif made.size != kept.size:
            stays.add(path)
            told.append(
                ByHand(
                    f"mind that the volume {name} stays one of {made.size}, not {kept.size}: its size can't be changed."
                    " Neither a node's disk nor a NAS holds it to that, so it may grow as it is"
                )
            )
    if elsewhere:
        names = ", ".join(dict.fromkeys(line.partition("/")[0] for line in elsewhere))
        raise UsageError(
            f"a volume stays where it was made: {'; '.join(elsewhere)}; nothing was changed",
            hint=f"leave `storage` as it was. Or save what is in it, take {names} out of the inventory, imagesmith "
                 "addons apply, and put it back: see docs/addons.md, Data to another place",
        )  # fmt: skip
    return stays, told


def _gone(wanted: Wanted, there: Mapping[str, There]) -> list[str]:
    """The files on servers that nobody wants, in the order in which they go."""
    asked = {file.path for node in wanted.servers for file in wanted.files[node]}
    found = {
        path: None for node in wanted.servers for path in there[node].digests if _is_ours(path) and path not in asked
    }
    kinds = list(_KIND)
    return sorted(found, key=lambda path: next((n for n, one in enumerate(kinds) if _stem(path).startswith(one)), 0))


def _removal(path: str, wanted: Wanted, there: Mapping[str, There]) -> Iterable[Step]:
    """The file goes from the other servers first: one that starts anew would make it all again."""
    has = [node for node in wanted.servers if path in there[node].digests]
    yield from (Run(node, f"remove {path}", ("rm", "-f", path)) for node in has[:-1])
    if path.startswith(MANIFESTS):
        words = ("delete", "-f", path, "--ignore-not-found", f"--timeout={_DELETE_S - 20}s")
        hint = "what is left of it: kubectl get all,pvc -A; the same command goes on there"
        yield kubectl(has[-1], _deleting(path), *words, limit_s=_DELETE_S, hint=hint)
        forget = ("-n", "kube-system", "delete", "addon", _stem(path), "--ignore-not-found")
        yield kubectl(has[-1], f"let k3s forget {_stem(path)}", *forget)
    yield Run(has[-1], f"remove {path}", ("rm", "-f", path))


def _deleting(path: str) -> str:
    stem = _stem(path)
    start = next(start for start in _KIND if stem.startswith(start))
    if start == VOLUME:
        return f"delete the volume {_named(path)}, WITH ALL THAT IS IN IT (on a NAS the folder stays)"
    volumes = ", WITH ITS VOLUMES on the nodes' disks" if start == ADDON else ""
    return f"delete {_KIND[start]} {stem.removeprefix(start) or 'nas'}{volumes}"


def _named(path: str) -> str:
    """A volume as `kubectl` has it, the namespace before its name."""
    return _stem(path).removeprefix(VOLUME).replace(BETWEEN, "/", 1)


def _addon_of(path: str) -> str:
    return _named(path).partition("/")[0]


def _addons(wanted: Wanted) -> set[str]:
    stems = (_stem(file.path) for node in wanted.servers for file in wanted.files[node])
    return {stem.removeprefix(ADDON) for stem in stems if stem.startswith(ADDON)}


def _is_ours(path: str) -> bool:
    """Whether an inventory's add-ons are why it is there; the VIP's manifest is none of theirs."""
    if path.startswith(f"{HOOKS}/"):
        return True
    return path.startswith(f"{MANIFESTS}/") and _stem(path).startswith(tuple(_KIND))


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
