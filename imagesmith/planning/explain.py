"""Tells a build plan: in words for a tired person (`explain`), and as plain data (`describe`). Decides nothing.

Called by `cli.plan`, and by the golden plans of the tests.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from imagesmith.formats.canonical import plan_id, to_plain
from imagesmith.formats.credentials import named_in
from imagesmith.model import (
    Base,
    BootWords,
    BuildPlan,
    DebianSource,
    Edit,
    EnsureLine,
    EnsureToken,
    EnsureWord,
    FileContent,
    FileSource,
    HttpSource,
    Link,
    LockAccount,
    MakeDir,
    Profile,
    Promise,
    PutFile,
    QemuMachine,
    Remove,
    RemoveKey,
    Role,
    SetKey,
    TargetDisk,
    Wifi,
)
from imagesmith.planning.fetched import carried
from imagesmith.secret import SecretRef, SecretText
from imagesmith.units import show_size

_WIDTH = 100
_LABEL = 14
_PARTITIONS = {"boot": "the FAT boot partition", "esp": "the EFI system partition", "root": "the root partition"}
_INSTALLER = {"medium": "the installer's medium", "root": "the system that it installs"}


def describe(plan: BuildPlan, *, cached: bool = False) -> dict[str, Any]:
    """The plan as plain data with its id and what it fetches; file contents are told by digest and size.

    `cached` = its base is in the cache. `fetch_bytes` is None when the size is not known, 0 when nothing is fetched.
    """
    return {"id": plan_id(plan), "fetch_bytes": 0 if cached else fetch_size(plan.base), "plan": to_plain(plan)}


def explain(plan: BuildPlan, identity: str, *, cached: bool = False) -> str:
    """The plan in words, several lines; `identity` is its id, `cached` = its base is in the cache."""
    joins = f"node of the cluster {plan.node.cluster}" if plan.node.cluster else "standalone: it joins nothing"
    lines = [
        f"{plan.name}: {plan.profile} ({plan.board}, {plan.architecture}), k3s {plan.duty or plan.role}, {joins}",
        *_labelled("plan", [identity]),
        *_labelled("builds on", _base(plan.base)),
        *_labelled("fetches", [_fetches(plan.base, cached)]),
        *_labelled("carries", carried(plan.supplies)),
        *_labelled("network", _network(plan)),
        *_labelled("login", _login(plan)),
        *_labelled("mind", _minded(plan)),
    ]
    medium = any(edit.partition == "medium" for edit in plan.edits)
    if medium and plan.node.disk:
        lines += _labelled("OVERWRITES", _overwritten(plan.node.disk, plan.node.settings.after_install))
    for partition, name in (_INSTALLER if medium else _PARTITIONS).items():
        told = list(_edits(edit for edit in plan.edits if edit.partition == partition))
        if told:
            lines += ["", f"On {name}:", *(f"  {line}" for line in told)]
    tried = ["No boot test: it would install, not boot, the node."] if medium else _machine(plan.board, plan.machine)
    lines += ["", *tried]
    lines += ["", "The first boot must bring about:", *(f"  {line}" for line in _promises(plan.promises))]
    return "\n".join(lines) + "\n"


def explain_profile(profile: Profile, proven: Mapping[str, str]) -> str:
    """A profile and its board in words; `proven` tells by base what of it was shown to work."""
    board = profile.board
    radio = ", Wi-Fi" if board.wifi else ""
    lines = [
        f"{profile.name}: {profile.title}",
        *_labelled("board", [f"{board.name}, {board.title}, {board.architecture}, {show_size(board.memory)}{radio}"]),
        *_labelled("role", [f"k3s {profile.role} (the board can be {' or '.join(board.roles)})"]),
        *_labelled("settings", [f"{key} = {value}" for key, value in profile.settings.items()]),
    ]
    for base in board.bases:
        chosen = "the default" if base.name == profile.base else f"chosen by --base {base.name}"
        lines += ["", f"Base {base.name}, {chosen}:"]
        shown = f"shown to work: {proven[base.name]}"
        lines += [f"  {line}" for line in (*_base(base)[1:], f"family {base.family}", shown)]
        lines += [f"  {line}" for line in _other_machine(base)]
        lines += [f"  mind: {line}" for line in _cautions(base, board.name)]
    lines += ["", *_machine(board.name, board.machine)]
    if board.notes:
        lines += ["", "Good to know:", *(line for note in board.notes for line in _wrapped(note, "  - "))]
    return "\n".join(lines) + "\n"


def fetch_size(base: Base) -> int | None:
    """Bytes that the base weighs on the network when it is not in the cache; 0 for a local file, None when unknown."""
    if isinstance(base.source, FileSource):
        return 0
    return (base.source.size if isinstance(base.source, HttpSource) else base.source.download_size) or None


def _base(base: Base) -> list[str]:
    source = base.source
    if isinstance(source, HttpSource):
        return [f"{base.name}, as its publisher made it", source.url, f"trusted by {_trust(source)}"]
    if isinstance(source, FileSource):
        trust = f"it must have {source.digest}" if source.digest else "it is taken as it is: no digest is given"
        return [f"{base.name}, a local file", source.path, trust]
    disk = f"{source.layout.table.upper()}, started by {source.loader}"
    return [
        f"{base.name}, made here from {len(source.packages)} packages of Debian {source.suite} and what they need",
        f"{disk}, trusted by the archive's signed package lists",
    ]


def _trust(source: HttpSource) -> str:
    """In the order that `sources.promise` keeps: a pinned digest needs no signature, unless nobody vouched for it."""
    signature = source.signature
    if source.digest and not (source.unchecked and signature):
        return f"its {source.digest.algorithm} in the profile or in imagesmith.lock"
    if not signature:
        return "nothing: no digest, no signature. Give a digest, or pin what comes: update --insecure-unverified"
    what = "the file" if signature.covers == "file" else "the publisher's checksum list"
    keys = " or ".join(fingerprint[-16:] for fingerprint in signature.fingerprints)
    signed = f"a signature of {what} by the key {keys}"
    return f"its {source.digest.algorithm} in a lock, and {signed}" if source.digest else signed


def _fetches(base: Base, cached: bool) -> str:
    source, size = base.source, fetch_size(base)
    if isinstance(source, FileSource):
        return "nothing: the base is a local file"
    if cached:
        asks = isinstance(source, HttpSource) and source.checksums_url and not source.digest
        newer = ", unless the publisher's list names a newer one" if asks else ""
        return f"nothing: the base is in the cache{newer}"
    if size is None:
        return "an unknown amount: its publisher tells the size at download"
    about = "about " if isinstance(source, DebianSource) else ""
    return f"{about}{show_size(size)}: the base is not in the cache"


def _network(plan: BuildPlan) -> list[str]:
    network = plan.node.network
    card = f"the card {network.mac}" if network.mac else "every wired card"
    if not network.address:
        kept = f", where {network.reserved} is reserved for it" if network.reserved else ""
        lines = [f"DHCP on {card}{kept}"]
    else:
        gateway = f", gateway {network.gateway}" if network.gateway else ", no gateway"
        lines = [f"{network.address} on {card}{gateway}"]
    if network.nameservers:
        lines.append(f"name servers {', '.join(network.nameservers)}")
    if network.wifi:
        lines += _wifi(network.wifi, plan.role)
    return lines


def _wifi(wifi: Wifi, role: Role) -> Iterator[str]:
    hidden = ", hidden" if wifi.hidden else ""
    key = f"its key made from {wifi.key.shown}" if wifi.key else "OPEN: no key, everybody can listen"
    yield f"Wi-Fi {wifi.ssid!r} ({wifi.country}{hidden}) by DHCP, {key}; the wire is preferred"
    if role == "server":
        yield "WARNING: a server on Wi-Fi: every node depends on it, so give it a wire too"


def _login(plan: BuildPlan) -> list[str]:
    settings = plan.node.settings
    count = len(settings.ssh_keys)
    if not count:
        nobody = "nobody will be able to log in" if settings.password is None else "only the console lets you in"
        lines = [f"user {settings.user}", f"NO SSH KEY: {nobody}; give one with --ssh-key FILE"]
    else:
        lines = [f"user {settings.user} with {count} SSH key{'s' if count > 1 else ''}"]
    if settings.password is None:
        lines[0] += ", no password"
    else:
        lines.append(f"a password for the console and sudo, never for SSH; its hash from {settings.password.shown}")
    if settings.sudo_nopasswd:
        lines.append("sudo asks for no password: who has the key is root")
    if not settings.has_root:
        lines += ["NOBODY CAN BECOME ROOT: sudo asks for a password, and the user has none; write password_file,",
                  "or sudo_nopasswd: true"]  # fmt: skip
    return lines


def _minded(plan: BuildPlan) -> list[str]:
    of_its_part = [line for caution in plan.cautions for line in textwrap.wrap(caution, _WIDTH - _LABEL)]
    return [*_cautions(plan.base, plan.board), *of_its_part]


def _cautions(base: Base, board: str) -> list[str]:
    caution = base.cautions.get(board)
    return textwrap.wrap(caution, _WIDTH - _LABEL) if caution else []


def _overwritten(disk: TargetDisk, after: str) -> list[str]:
    """What an installer does to its machine."""
    traits = [
        f"the serial number {disk.serial}" if disk.serial else "",
        f"{show_size(disk.at_least)} or more" if disk.at_least else "",
        f"{show_size(disk.at_most)} or less" if disk.at_most else "",
        "" if disk.ssd is None else "no rotating parts" if disk.ssd else "rotating parts",
    ]
    which = " and ".join(trait for trait in traits if trait)
    most = f"the {disk.size} disk" if disk.size else "the one disk"
    return [
        f"{most}{' with ' + which if which else ''} of the machine that it is started on, without a question",
        "nothing at all where not exactly one disk fits, or something of it is in use",
        f"afterwards the machine {'restarts' if after == 'reboot' else 'powers off'}",
    ]


def _edits(edits: Iterable[Edit]) -> Iterator[str]:
    for edit in edits:
        match edit:
            case PutFile():
                mode = f", mode {edit.mode:04o}" if edit.mode != 0o644 else ""
                yield f"write  {edit.path}  ({_content(edit)}{mode})"
            case EnsureLine():
                yield f"line   {edit.path}  has the line {edit.line!r}"
            case EnsureToken():
                yield f"word   {edit.path}  has the word {edit.token!r}"
            case SetKey():
                yield f"key    {edit.path}  has {edit.key}={edit.value}"
            case RemoveKey():
                yield f"key    {edit.path}  has no {edit.key}"
            case EnsureWord():
                yield f"word   {edit.path}  has the word {edit.word!r} in {edit.key}"
            case BootWords():
                words = " ".join((*edit.installer, "---", *edit.installed))
                yield f"words  {edit.path}  starts kernels with {words}"
            case LockAccount():
                yield f"lock   {edit.path}  no password of {edit.account} is taken"
            case MakeDir():
                yield f"folder {edit.path}  (mode {edit.mode:04o})"
            case Link():
                yield f"link   {edit.path}  -> {edit.target}"
            case Remove():
                yield f"remove {edit.path}"


def _content(edit: PutFile) -> str:
    if isinstance(edit.content, SecretRef):
        return f"the secret {edit.content.name}"
    if isinstance(edit.content, SecretText):
        names = dict.fromkeys(ref.name for ref in named_in(edit.content))
        return f"with the secret {' and '.join(names)}"
    size = edit.content.size if isinstance(edit.content, FileContent) else len(edit.content)
    return show_size(size) if size else "empty"


def _machine(board: str, machine: QemuMachine | None) -> list[str]:
    if machine is None:
        return [f"No boot test: QEMU has no machine like the {board}."]
    how = "its own boot loader" if machine.start == "uefi" else "the kernel copied out of the image"
    size = f"{machine.cpu}, {machine.cpus} processors, {show_size(machine.memory)}"
    lines = [f"A boot test starts it in QEMU's {machine.machine} ({size}), with {how}."]
    if machine.unproven:
        lines.append("What that can't prove:")
        lines += [line for reason in machine.unproven for line in _wrapped(reason, "  - ")]
    return lines


def _other_machine(base: Base) -> list[str]:
    """What a base says of its boot test, where that is not its board's."""
    if base.machine == "board":
        return []
    if base.machine == "none":
        return ["no boot test: QEMU has no machine that starts its kernel"]
    return [f"a boot test of this base starts it in QEMU's {base.machine.machine}"]


def _promises(promises: Iterable[Promise]) -> Iterator[str]:
    steps = []
    for promise in promises:
        if promise.fact.startswith("step."):
            steps.append(promise.fact.removeprefix("step."))
            continue
        value = {"equals": f" is {promise.value or 'empty'}", "at_least": f" is at least {promise.value}"}
        relation = value.get(promise.relation, f" is {promise.relation}")
        yield f"{promise.fact}{relation}" + (f" ({promise.because})" if promise.because else "")
    if steps:
        yield f"every step of the first boot is done: {', '.join(steps)}"


def _labelled(label: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"  {label if number == 0 else '':<{_LABEL}}{line}"


def _wrapped(text: str, bullet: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))
