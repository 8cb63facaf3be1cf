"""The bases of one run: each is obtained and checked once, whatever number of nodes is built on it, and stays in the
cache until the run is over. So does what is fetched for an image beside its base.

Called by `workflow.build` and `workflow.selftest`. Reads and fills the cache through `sources`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from imagesmith.disk import failures
from imagesmith.errors import ImagesmithError
from imagesmith.events import Listener, Noted
from imagesmith.model import (
    Architecture,
    Base,
    BuildPlan,
    DebianSource,
    FileContent,
    FileSource,
    HttpSource,
    ObtainedBase,
    Supply,
)
from imagesmith.sources.bootstrap import obtain_debian
from imagesmith.sources.cache import Cache
from imagesmith.sources.fetch import NotThere
from imagesmith.sources.obtain import obtain_file, obtain_http
from imagesmith.sources.published import obtain_published


def obtain(build_plan: BuildPlan, cache: Cache, *, insecure: bool, listener: Listener) -> ObtainedBase:
    """The verified raw base of a plan, from the cache or from its source."""
    base = build_plan.base
    match base.source:
        case HttpSource():
            return obtain_http(base, cache=cache, insecure=insecure, listener=listener)
        case FileSource():
            return obtain_file(base, cache=cache, listener=listener)
        case DebianSource():
            return obtain_debian(base, build_plan.architecture, cache=cache, listener=listener)


@dataclass(frozen=True, slots=True)
class _Kept:
    base: Base
    architecture: Architecture
    obtained: ObtainedBase
    identity: tuple[int, ...]


class Bases:
    """Use as a context manager: inside, `cache prune` leaves every base alone that was asked for."""

    def __init__(self, cache: Cache, *, insecure: bool, listener: Listener) -> None:
        """`insecure` takes a base that nothing vouches for (`--insecure-unverified`)."""
        self.cache = cache
        self._insecure, self._listener = insecure, listener
        self._kept: list[_Kept] = []
        self._leaving = ExitStack()

    def __enter__(self) -> Bases:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._kept.clear()
        self._leaving.close()

    def of(self, build_plan: BuildPlan) -> ObtainedBase:
        """The base of a plan; what was obtained before and is the same file still is not looked at again."""
        for kept in self._kept:
            same = (kept.base, kept.architecture) == (build_plan.base, build_plan.architecture)
            if same and kept.identity == _identity(kept.obtained.path):
                return kept.obtained
        obtained = self._in_use(build_plan)
        self._kept.append(_Kept(build_plan.base, build_plan.architecture, obtained, _identity(obtained.path)))
        return obtained

    def supply(self, supply: Supply) -> FileContent:
        """The file of a plan's supply, of the digest that it must have; a local one is held to it when it is put."""
        if supply.file:
            return FileContent(Path(supply.file), supply.digest, supply.size)
        while True:
            try:
                entry = obtain_published(
                    (supply.url,), supply.digest, supply.size, cache=self.cache, listener=self._listener, plain=True
                )
            except ImagesmithError as error:
                if isinstance(error, NotThere):
                    error.hint = "publishers drop old versions: `imagesmith update` pins what there is now"
                raise error.within(f"while getting {supply.name}") from error
            if self._leaving.enter_context(self.cache.using(entry.path)):
                return FileContent(entry.path, supply.digest, entry.size)
            self._listener(Noted(f"{supply.name} was just removed from the cache"))

    def _in_use(self, build_plan: BuildPlan) -> ObtainedBase:
        while True:
            obtained = obtain(build_plan, self.cache, insecure=self._insecure, listener=self._listener)
            if self._leaving.enter_context(self.cache.using(obtained.path)):
                return obtained
            self._listener(Noted("the base was just removed from the cache"))


def _identity(path: Path) -> tuple[int, ...]:
    """What changes whenever a file's bytes do; nothing where it is gone."""
    with failures(path, "looking at the base"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
