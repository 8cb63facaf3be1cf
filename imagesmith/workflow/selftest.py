"""Prove one base of one board end to end: fetched, verified, recognised, built, checked, flashed, read back, booted.

Called by `cli.selftest`. The node is a throw-away one: no inventory, a key that is drawn here and forgotten. Touches
the cache and a temporary folder; no device, no root. What each step means is told in `planning.trial`.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from imagesmith import __version__, tools
from imagesmith.disk import CHUNK, failures, room_for_large_files
from imagesmith.errors import BootFailed, ImagesmithError, Interrupted, UsageError
from imagesmith.events import Listener, Noted, StepFinished, StepStarted
from imagesmith.families.findings import Findings
from imagesmith.image.inspect import ImageReport, inspect
from imagesmith.image.soundness import check_filesystems
from imagesmith.invoker import become, behind_sudo
from imagesmith.model import BuildPlan, Image, ObtainedBase, Profile
from imagesmith.planning import trial
from imagesmith.planning.boot import EMULATORS
from imagesmith.planning.proof import only_hardware
from imagesmith.planning.trial import Step, Trial
from imagesmith.profile.schema import did_you_mean
from imagesmith.sources.cache import Cache
from imagesmith.units import MiB, show_size
from imagesmith.workflow.asking import Question
from imagesmith.workflow.bases import Bases
from imagesmith.workflow.boot import boot, require
from imagesmith.workflow.build import BuildOptions, build, recognised, require_tools
from imagesmith.workflow.flash import Request as FlashRequest
from imagesmith.workflow.flash import first_failure, flash
from imagesmith.workflow.jobs import Job
from imagesmith.workflow.planned import LOCK, current_plan_id, plan
from imagesmith.workflow.target import Wanted, catalogue_here, resolve
from imagesmith.workflow.verify import verify_device, verify_image

A = TypeVar("A")
T = TypeVar("T")
_NAME = "selftest"
_SETTINGS = {"sudo_nopasswd": "true", "disk": "serial=no-disk-has-this"}
"""An installer is never made for a disk that there is: its stick may lie about."""
_SPARE = 64 * MiB
"""By how much the card is larger than the image."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the user typed."""

    board: str
    base: str = ""
    """Empty = what the board's profile takes."""
    boot: bool = True
    keep: bool = False
    """Leave the folder with the image, the card and the key."""


def selftest(request: Request, cache: Cache, listener: Listener) -> Trial:
    """Every step that can be done here; a step that failed leaves out only those that need it.

    Raises UsageError for a board or base that there is none of; what fails later is in the trial's steps.
    """
    if user := behind_sudo():
        become(user)  # nothing here needs root, and root's files in the user's cache would be in the way
    wanted = _wanted(request)
    with _room(request.keep, listener) as folder:
        key = _new_key(folder / "key" if request.keep else None)
        found = resolve(
            wanted.profile.name,
            cluster=None,
            base=wanted.base.name,
            hostname=_NAME,
            ssh_keys=[key],
            overrides=_SETTINGS,
        )
        build_plan = plan(found, Path(LOCK))
        course = _Course(build_plan, folder, listener)
        course.run(cache, boots=request.boot)
        board = found.profile.board
        booted = any(step.name == "boot" and step.state == "passed" for step in course.steps)
        return Trial(
            board=board.name,
            title=board.title,
            base=build_plan.base.name,
            version=course.version,
            digest=course.digest,
            origin=trial.origin_of(build_plan.base),
            made_on=_here(),
            steps=tuple(course.steps),
            hardware=(*(() if booted else ("the first boot",)), *only_hardware(board, build_plan.base)),
            kept=str(folder) if request.keep else "",
        )


class _Course:
    """The steps as they are taken, and what they hand on."""

    def __init__(self, build_plan: BuildPlan, folder: Path, listener: Listener) -> None:
        self.plan, self.folder, self.listener = build_plan, folder, listener
        self.steps: list[Step] = []
        self.version = self.digest = ""

    def run(self, cache: Cache, *, boots: bool) -> None:
        """Reads like the table in docs/boards.md."""
        boots_here = boots and self.plan.machine is not None
        ready = self._step("tools", self.plan, lambda it: _tools(it, boots=boots_here))
        with Bases(cache, insecure=False, listener=self.listener) as bases:
            base = self._step("fetch", ready, lambda it: self._fetch(it, bases))
            known = self._step("recognise", base, self._recognise)
            self._step("base", known, lambda it: _sound(it.path, self.folder))
            image = self._step("build", known, lambda _: self._build(bases))
        self._step("inspect", image, self._inspect)
        self._step("image", image, lambda it: _sound(it.path, self.folder))
        card = self._step("flash", image, self._flash)
        self._step("verify", card, lambda it: self._verify(*it))
        if boots_here:
            self._step("boot", image, self._boot)
        else:
            why = "not wanted: --no-boot" if self.plan.machine else "QEMU has no machine that starts it"
            self._end(Step("boot", "left out", why))

    def _step(self, name: str, given: A | None, act: Callable[[A], tuple[T, str]]) -> T | None:
        """Do one step with what an earlier one gave; None when that, or the step itself, failed."""
        if given is None:
            failed = next(step.name for step in self.steps if step.state == "failed")
            self._end(Step(name, "not tried", f"since {failed} failed"))
            return None
        self.listener(StepStarted(f"selftest: {name}", trial.STEPS[name]))
        start = time.monotonic()
        try:
            with failures(self.folder, f"the step {name}"):
                value, told = act(given)
        except Interrupted:
            raise
        except ImagesmithError as error:
            self._end(Step(name, "failed", trial.one_line(error), time.monotonic() - start, error))
            return None
        self._end(Step(name, "passed", told, time.monotonic() - start))
        return value

    def _end(self, step: Step) -> None:
        self.steps.append(step)
        seconds = f" after {step.seconds:.1f} s" if step.seconds else ""
        self.listener(StepFinished(f"selftest: {step.name}", f"{step.state}{seconds}, {step.told}"))

    # -- the steps --------------------------------------------------------------------------------

    def _fetch(self, build_plan: BuildPlan, bases: Bases) -> tuple[ObtainedBase, str]:
        base = bases.of(build_plan)
        self.digest = trial.digest_of(base)
        return base, f"{show_size(base.size)}, {base.trust}"

    def _recognise(self, base: ObtainedBase) -> tuple[ObtainedBase, str]:
        found: Findings = recognised(self.plan, base)
        self.version = found.os_release.get("PRETTY_NAME", "")
        return base, f"{self.plan.base.family}: {found.described}"

    def _build(self, bases: Bases) -> tuple[Image, str]:
        options = BuildOptions(self.folder / "out", "none")
        image = build(self.plan, options, bases, self.listener)
        return image, f"{show_size(image.size)}, {len(self.plan.edits)} edits, {image.digest}"

    def _inspect(self, image: Image) -> tuple[ImageReport, str]:
        report = inspect(image.path)
        roles = ", ".join(volume.role for volume in report.volumes if volume.role)
        system = f"{report.os_name}, " if report.os_name else ""
        return report, f"{system}{report.table.upper()} with {roles}; {show_size(report.mapped)} must be written"

    def _flash(self, image: Image) -> tuple[tuple[Image, Path], str]:
        card = self.folder / "card"
        _fill(card, image.size + _SPARE)
        jobs = (Job(str(image.path), (str(card),)),)
        request = FlashRequest(jobs, self.folder / "out", yes=True, to_file=True, eject=False)
        outcomes = flash(request, ask=_nobody, current_plan_id=current_plan_id, listener=self.listener)
        if failure := first_failure(outcomes):
            raise failure
        (outcome,) = outcomes
        written = outcome.receipt.written if outcome.receipt else 0
        return (image, card), f"{show_size(written)} written over 0xFF and read back"

    def _verify(self, image: Image, card: Path) -> tuple[Path, str]:
        verify_image(image.path, self.listener)
        verify_device(image.path, str(card), self.listener)
        sound = check_filesystems(card, self.folder)
        return card, f"the card holds the image; {len(sound)} file systems on it are sound"

    def _boot(self, image: Image) -> tuple[Image, str]:
        machine = self.plan.machine
        assert machine, "the step is left out without one"
        try:
            report = require(
                boot(
                    image.path,
                    machine,
                    self.plan.promises,
                    architecture=self.plan.architecture,
                    transcript=self.folder / "console.log",
                    listener=self.listener,
                )
            )
        except BootFailed as error:
            error.hint = f"{error.hint or 'the console tells more'}; --keep leaves it there"
            raise
        return image, f"on {report.machine}, {len(report.kept)} of {len(self.plan.promises)} promises kept"


# -- pieces ---------------------------------------------------------------------------------------


def _wanted(request: Request) -> Wanted:
    """The board with its base, by one of its profiles. Raises UsageError."""
    profiles = catalogue_here().profiles
    boards = sorted({profile.board.name for profile in profiles.values()})
    users = [profile for profile in profiles.values() if profile.board.name == request.board]
    if not users:
        named = profiles.get(request.board)
        hint = (
            f"the profile's board: imagesmith selftest {named.board.name}" if named else f"boards: {', '.join(boards)}"
        )
        near = did_you_mean(request.board, boards)
        raise UsageError(f"there is no board {request.board[:80]!r} with a profile{near}", hint=hint)
    profile = min(users, key=lambda one: _preference(one, request.base))
    return resolve(profile.name, cluster=None, base=request.base)


def _preference(profile: Profile, base: str) -> tuple[bool, bool, str]:
    """A profile that has the base, then a worker's, which is what most nodes are."""
    return bool(base) and profile.base_named(base) is None, profile.role != "worker", profile.name


def _tools(build_plan: BuildPlan, *, boots: bool) -> tuple[BuildPlan, str]:
    """Before a download of minutes, so that a missing program is told at once."""
    require_tools(build_plan, "none")
    for name in (EMULATORS[build_plan.architecture], "qemu-img") if boots else ():
        tools.find(name)
    return build_plan, "all here"


def _sound(path: Path, folder: Path) -> tuple[tuple[str, ...], str]:
    sound = check_filesystems(path, folder)
    return sound, f"{', '.join(sound) or 'none that e2fsck or fsck.fat knows'}: nothing to complain about"


def _fill(card: Path, size: int) -> None:
    """A card that was used before, at its worst: not a zero on it. `size` in bytes."""
    whole = -(-size // MiB) * MiB
    used = b"\xff" * CHUNK
    with failures(card, "making the card"), card.open("wb") as file:
        for offset in range(0, whole, CHUNK):
            file.write(used[: min(CHUNK, whole - offset)])


def _nobody(question: Question) -> str:
    raise UsageError(f"nobody is there to answer whether to {question.doing}", where=question.where)


@contextlib.contextmanager
def _room(keep: bool, listener: Listener) -> Iterator[Path]:
    """A private folder, gone afterwards unless it is to be kept."""
    room = room_for_large_files()
    with failures(room, "making a folder for the self-test"):
        folder = Path(tempfile.mkdtemp(prefix="imagesmith-selftest-", dir=room))
    try:
        yield folder
    finally:
        if keep:
            listener(Noted(f"kept: {folder}"))
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _new_key(private: Path | None) -> str:
    """A public key line that nobody else has the private key of; that is written to `private`, where one is given."""
    # Here, since it takes long to import.
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    if private:
        data = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
        with failures(private, "keeping the key"):
            descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return f"{public.decode()} {_NAME}"


def _here() -> str:
    """imagesmith's version, and the machine that this runs on."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        system = platform.system()
    return f"imagesmith {__version__} on {system}, {platform.machine()}, Python {platform.python_version()}"
