"""Build an image: a plan turns a verified base image into an image with a block map and a manifest.

Called by `cli.build`. Reads like the sentence in docs/architecture.md; every step lives in the folder of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from imagesmith import RELEASED, __version__, tools
from imagesmith.errors import ImagesmithError
from imagesmith.events import Listener, Noted, StepFinished, StepStarted, Warned
from imagesmith.families.findings import Findings
from imagesmith.families.foreign import refuse
from imagesmith.families.recognise import all_clues, check
from imagesmith.formats import bmap, manifest, spdx
from imagesmith.formats.canonical import plan_id, to_plain
from imagesmith.formats.credentials import OpenSecret
from imagesmith.formats.manifest import AppliedEdit, BaseRecord, ImageRecord, Manifest
from imagesmith.image.allocation import used_ranges
from imagesmith.image.apply import apply
from imagesmith.image.findings import gather
from imagesmith.image.grow import grow_root
from imagesmith.image.raw import RawImage
from imagesmith.image.remaster import remaster
from imagesmith.image.room import make_room
from imagesmith.model import BuildPlan, FileContent, Image, ObtainedBase, PutFile
from imagesmith.output.pack import LIBZSTD
from imagesmith.output.publish import Staging
from imagesmith.output.seal import Sealed, seal
from imagesmith.planning.fetched import packages_in
from imagesmith.units import show_size
from imagesmith.workflow.bases import Bases
from imagesmith.workflow.secrets import open_secrets

Compression = Literal["zst", "xz", "none"]
_TOOLS = ("debugfs", "e2fsck", "fsck.fat", "mcopy", "mdel", "mdir", "mmd", "mtype")
"""What editing may call for; which of them take part is known afterwards."""
_LATER = ("*.log",)
"""What other commands may put beside an image, as the boot test its transcript; a new build replaces it."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build, whatever is built."""

    output: Path = Path("out")
    compress: Compression = "zst"
    epoch: int = 0
    """Time that written files bear (SOURCE_DATE_EPOCH); 0 = the base's own."""


def build(
    build_plan: BuildPlan,
    options: BuildOptions,
    bases: Bases,
    listener: Listener,
    open_secret: OpenSecret | None = None,
) -> Image:
    """Make the image of a plan and publish it in `options.output`/<name>/.

    `open_secret` gives the plan's secrets where they were opened already, as a vault is once for many plans.
    Raises what its steps raise; then nothing is left there but what was there before.
    """
    name = build_plan.name
    try:
        require_tools(build_plan, options.compress)
        open_secret = open_secret or open_secrets((build_plan,))
        _mind_login(build_plan, listener)
        listener(StepStarted("base", f"{name} builds on {build_plan.base.name}"))
        base = bases.of(build_plan)
        listener(StepFinished("base", base.trust))
        supplied = tuple(
            PutFile("root", supply.path, bases.supply(supply), supply.mode) for supply in build_plan.supplies
        )
        with Staging(options.output / name, also_ours=_LATER, listener=listener) as staging:
            made, digests = _make(build_plan, base, supplied, options, staging, open_secret, listener)
            staging.publish(digests)
        return _published(made, options.output / name)
    except ImagesmithError as error:
        raise error.within(f"while building {name}") from error


def require_tools(build_plan: BuildPlan, compress: Compression) -> None:
    """Before any work, so that a missing program is told at once. Raises ToolMissing."""
    grows = build_plan.base.min_root or build_plan.supplies
    editing = ["xorriso"] if _is_medium(build_plan) else [*_TOOLS, *(["resize2fs"] if grows else [])]
    for name in (*editing, *(["xz"] if compress == "xz" else [])):
        tools.find(name)


def recognised(build_plan: BuildPlan, base: ObtainedBase) -> Findings:
    """What the base shows of itself. Raises EditFailed where that is not what the plan takes it for."""
    with RawImage(base.path, writable=False) as untouched:
        found = gather(untouched, all_clues())
        refuse(found)
        # Many systems that are known not to work have no root that could be read, so it is asked for only now.
        if {role for role, _ in found.contents}.isdisjoint(("root", "medium")):
            untouched.volume("root")
        check(found, build_plan.base, build_plan.architecture)
    return found


def _make(
    build_plan: BuildPlan,
    base: ObtainedBase,
    supplied: tuple[PutFile, ...],
    options: BuildOptions,
    staging: Staging,
    open_secret: OpenSecret,
    listener: Listener,
) -> tuple[Image, dict[str, str]]:
    """Every file of the image in the staging folder, and the digests that are known by then, by file name."""
    folder, name, epoch = staging.path, build_plan.name, build_plan.epoch or base.epoch or RELEASED
    raw_path = folder / f"{name}.img"
    packed = None if options.compress == "none" else folder / f"{name}.img.{options.compress}"
    with tools.taking_part() as programs:
        applied, ranges = _edit(build_plan, base, supplied, raw_path, epoch, open_secret, listener)
        listener(StepStarted("seal", f"digest, block map, {options.compress}"))
        sealed = seal(raw_path, ranges, compress=options.compress, packed=packed, listener=listener)
    listener(
        StepFinished("seal", f"{show_size(sealed.block_map.mapped_bytes)} of {show_size(sealed.size)} to be written")
    )
    versions = {program: tools.version(program) for program in programs}
    if options.compress == "zst":
        versions["libzstd"] = LIBZSTD
    record = _manifest(build_plan, base, epoch, sealed, applied, versions)
    beside = {
        f"{name}.bmap": bmap.encode(sealed.block_map).encode(),
        f"{name}.manifest.json": manifest.encode(record),
        f"{name}.spdx.json": spdx.encode(record),
    }
    for file, data in beside.items():
        staging.write(file, data)
    digests = {raw_path.name: sealed.digest.hex}
    if packed and sealed.packed_digest:
        digests[packed.name] = sealed.packed_digest.hex
    image = Image(
        name=name,
        path=raw_path,
        packed=packed,
        size=sealed.size,
        digest=sealed.digest,
        plan_id=record.plan_id,
        block_map=folder / f"{name}.bmap",
        manifest=folder / f"{name}.manifest.json",
    )
    return image, digests


def _edit(
    build_plan: BuildPlan,
    base: ObtainedBase,
    supplied: tuple[PutFile, ...],
    raw_path: Path,
    epoch: int,
    open_secret: OpenSecret,
    listener: Listener,
) -> tuple[tuple[AppliedEdit, ...], tuple[tuple[int, int], ...]]:
    """The raw image, grown and edited; what was done, and the bytes in use as (start, end)."""
    edits = (*build_plan.edits, *supplied)
    listener(StepStarted("edit", f"{len(edits)} edits"))
    recognised(build_plan, base)
    if _is_medium(build_plan):
        applied = remaster(base.path, raw_path, edits, epoch=epoch, open_secret=open_secret, listener=listener)
        listener(StepFinished("edit", "every file of the medium compared"))
        # Whole, so that a stick can be held against it by any means.
        return applied, ((0, raw_path.stat().st_size),)
    with RawImage.copy_of(base.path, raw_path, listener) as raw:
        if build_plan.base.min_root:
            grow_root(raw, build_plan.base.min_root, epoch=epoch, listener=listener)
        make_room(raw, _sizes(supplied), epoch=epoch, listener=listener)
        applied = apply(raw, edits, epoch=epoch, open_secret=open_secret, listener=listener)
        ranges = used_ranges(raw, listener)
    listener(StepFinished("edit", "every edit read back, file systems clean"))
    return applied, ranges


def _sizes(supplied: tuple[PutFile, ...]) -> list[int]:
    return [put.content.size for put in supplied if isinstance(put.content, FileContent)]


def _is_medium(build_plan: BuildPlan) -> bool:
    """Whether the plan makes an installer's medium, which is made anew rather than edited."""
    return any(edit.partition == "medium" for edit in build_plan.edits)


def _manifest(
    build_plan: BuildPlan,
    base: ObtainedBase,
    epoch: int,
    sealed: Sealed,
    applied: tuple[AppliedEdit, ...],
    versions: Mapping[str, str],
) -> Manifest:
    plain = to_plain(build_plan)
    assert isinstance(plain, Mapping)
    return Manifest(
        imagesmith=__version__,
        name=build_plan.name,
        plan_id=plan_id(build_plan),
        plan=plain,
        architecture=build_plan.architecture,
        hostname=build_plan.node.name,
        epoch=epoch,
        base=BaseRecord(base.digest, base.published, base.trust, base.epoch, base.tools),
        image=ImageRecord(sealed.size, sealed.digest),
        block_map=f"{build_plan.name}.bmap",
        files=applied,
        packages=(*base.packages, *packages_in(build_plan.supplies)),
        tools=versions,
        machine=build_plan.machine,
        promises=build_plan.promises,
    )


def _published(image: Image, folder: Path) -> Image:
    """The image under its final names."""
    return replace(
        image,
        path=folder / image.path.name,
        packed=folder / image.packed.name if image.packed else None,
        block_map=folder / image.block_map.name,
        manifest=folder / image.manifest.name,
    )


def _mind_login(build_plan: BuildPlan, listener: Listener) -> None:
    if caution := build_plan.base.cautions.get(build_plan.board):
        listener(Warned(f"{build_plan.base.name} on {build_plan.board}: {caution}"))
    for caution in build_plan.cautions:
        listener(Warned(f"{build_plan.name}: {caution}"))
    if not build_plan.node.settings.ssh_keys:
        listener(Warned(f"nobody will be able to log in to {build_plan.name}", hint="give a key: --ssh-key FILE"))
    if not build_plan.node.settings.has_root:
        listener(
            Warned(
                f"nobody can become root on {build_plan.name}: sudo asks for a password, and the user has none",
                hint="give the user one (password_file), or write sudo_nopasswd: true",
            )
        )
    if not build_plan.node.cluster:
        listener(Noted(f"{build_plan.name} is standalone: it joins nothing"))
