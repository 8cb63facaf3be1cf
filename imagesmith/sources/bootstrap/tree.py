"""From a recipe to package state, and from package state to the tree, as two tar archives. Called by `obtain`.

Touches only the scratch folder it is given, and what mmdebstrap does beneath its temporary folder.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import ContentMalformed
from imagesmith.events import Listener, StepFinished, StepStarted
from imagesmith.model import Package
from imagesmith.sources.bootstrap import foreign, mmdebstrap, settings
from imagesmith.sources.bootstrap.packages import PackageState, installed, state_of
from imagesmith.sources.bootstrap.recipe import Identity, Recipe

_HOOKS = Path(__file__).resolve().parent / "hooks"
_LISTS = "lists.tar"


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree that was made, as archives of its root and of its boot partition."""

    root: Path
    boot: Path
    packages: tuple[Package, ...]


def resolve(recipe: Recipe, scratch: Path, listener: Listener) -> PackageState:
    """Ask the archive which packages the recipe means now; leaves the package lists in `scratch` for `make`.

    Raises ToolMissing, SourceUnreachable and whatever `mmdebstrap.run` may raise.
    """
    mode = foreign.mode()
    foreign.require_emulation(recipe.architecture)
    suite = recipe.source.suite
    essential = (
        f"?narrow(?or(?archive(^{suite}$),?codename(^{suite}$)),?architecture({recipe.architecture}),?essential)"
    )
    wanted = [essential, "apt", *sorted(set(recipe.source.packages))]
    (scratch / "wanted").write_text("".join(f"{word}\n" for word in wanted))
    shutil.copy(_HOOKS / "resolve.sh", scratch)
    listener(StepStarted("resolve packages", suite))
    _run(mmdebstrap.resolve_argv(recipe, mode), scratch, mode, None, listener)
    state = state_of(recipe, (scratch / "simulated").read_text(), _releases(scratch / _LISTS))
    listener(StepFinished("resolve packages", f"{len(state.packages)} packages"))
    return state


def make(recipe: Recipe, state: PackageState, scratch: Path, listener: Listener) -> Tree:
    """Install the packages that `resolve` named into a tree. Needs its lists in `scratch`."""
    mode = foreign.mode()
    host = foreign.host()
    native = recipe.architecture != host and host == foreign.LENDER
    for script in _HOOKS.glob("*.sh"):
        shutil.copy(script, scratch)
    identity = Identity(state.key)
    laid = {path: text.encode() for path, text in settings.files(recipe, identity).items()}
    # hooks/settle.sh turns the name back into the path.
    laid |= {f"/.imagesmith/append/{path.replace('/', '!')}": text.encode()
             for path, text in settings.appended(recipe, identity).items()}  # fmt: skip
    _pack(laid, scratch / "settings.tar", state.epoch)
    if native:
        listener(StepStarted("fetch native tools", host))
        argv = mmdebstrap.native_argv(recipe.source.suite, host, foreign.PROGRAMS, mode)
        _run(argv, scratch, mode, state.epoch, lambda event: None)
    _run(mmdebstrap.tree_argv(recipe, mode, native=native), scratch, mode, state.epoch, listener)
    root, boot = scratch / "root.tar", scratch / "boot.tar"
    if recipe.architecture != host:
        listener(StepStarted("check that all programs are", recipe.architecture))
        foreign.refuse_strangers((root, boot), recipe.architecture)
    return Tree(root, boot, _installed(root))


def _run(argv: tuple[str, ...], scratch: Path, mode: str, epoch: int | None, listener: Listener) -> None:
    if mode == "root":
        # The cache's disk has room; /tmp may be memory.
        temporary = scratch / "tmp"
        temporary.mkdir(exist_ok=True)
        temporary.chmod(0o755)
    else:
        # Must be open to the subordinate ids, which a home folder is not.
        temporary = Path(os.environ.get("TMPDIR", "/var/tmp"))
    mmdebstrap.run(argv, folder=scratch, temporary=temporary, epoch=epoch, listener=listener)


def _releases(lists: Path) -> list[str]:
    """The texts of the suite's Release files out of the package lists."""
    texts = []
    with tarfile.open(lists) as tar:
        for member in tar:
            if member.isreg() and member.name.endswith(("_InRelease", "_Release")):
                file = tar.extractfile(member)
                texts.append(file.read().decode("utf-8", "replace") if file else "")
    return texts


def _installed(root: Path) -> tuple[Package, ...]:
    with tarfile.open(root) as tar:
        for member in tar:
            if member.name.removeprefix("./") == "var/lib/dpkg/status":
                file = tar.extractfile(member)
                return installed(file.read().decode() if file else "")
    raise ContentMalformed("the tree that mmdebstrap made has no dpkg status", where=str(root))


def _pack(files: Mapping[str, bytes], target: Path, epoch: int) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, data in sorted(files.items()):
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mtime, member.mode = len(data), epoch, 0o644
            tar.addfile(member, io.BytesIO(data))
