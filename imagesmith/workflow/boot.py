"""Boot an image in QEMU and say whether its first boot did what was promised.

Called by `cli.boot` and by the boot tests. The image is never written: the guest lives on an overlay in a temporary
folder. What the guest must say, and why an echo is no proof, is told in docs/boot.md.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesmith.boot import kernel, qemu
from imagesmith.boot.console import Console
from imagesmith.boot.report import BootReport, PromisesBroken, judge, quoted
from imagesmith.disk import failures
from imagesmith.errors import BootFailed, ToolMissing, UsageError
from imagesmith.events import Listener, Noted, StepFinished, StepStarted, unheard
from imagesmith.model import Architecture, Promise, QemuMachine
from imagesmith.planning.boot import (
    EMULATORS,
    FIRMWARE,
    Deadlines,
    GuestFiles,
    can_power_off,
    deadlines,
    guest_argv,
    overlay_size,
)
from imagesmith.workflow.built import CurrentPlanId
from imagesmith.workflow.chosen import chosen

STEPS = ("kernel", "userspace", "report")
_WANTED = {
    "kernel": "the kernel's first line",
    "userspace": "a word from systemd",
    "report": "the report of the finished first boot",
}
_POWER_OFF_S = 60.0
_LAST_WORDS_S = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """What the user typed. `source` is an image's path, or the TARGET that one was built for."""

    source: str
    output_dir: Path
    transcript: Path | None = None
    """None = beside the image."""
    deadline_s: float = 0
    """0 = as the board's machine says."""


def boot_named(request: Request, *, current_plan_id: CurrentPlanId, listener: Listener = unheard) -> BootReport:
    """Find the image and its manifest, boot it, and return the report of kept promises.

    Raises PromisesBroken, and as `boot` does; UsageError when there is no such image, when it was built from an
    older plan, or when nothing beside it says how to boot it.
    """
    with chosen(request.source, request.output_dir, current_plan_id, listener) as raw:
        manifest = raw.beside().manifest
        if manifest is None:
            raise UsageError(
                "no manifest lies beside it, which would say how to boot it and what to expect",
                where=str(raw.named),
                hint="keep NAME.manifest.json beside the image, or build it again",
            )
        if any(edit.partition == "medium" for edit in manifest.files):
            raise UsageError(
                "this is an installer's stick: booting it would install, not boot, the node",
                where=str(raw.named),
                hint="`imagesmith verify` checks it; docs/installer.md tells how to try it on the machine itself",
            )
        if manifest.machine is None:
            raise UsageError(
                f"QEMU has no machine that resembles the board of {manifest.name}",
                where=str(raw.named),
                hint="flash it and try it on the board itself",
            )
        report = boot(
            raw.path,
            manifest.machine,
            manifest.promises,
            architecture=manifest.architecture,
            transcript=request.transcript or raw.named.with_suffix(".console.log"),
            listener=listener,
            deadline_s=request.deadline_s,
        )
    return require(report)


def boot(
    image: Path,
    machine: QemuMachine,
    promises: Sequence[Promise],
    *,
    architecture: Architecture,
    transcript: Path,
    listener: Listener = unheard,
    deadline_s: float = 0,
) -> BootReport:
    """Start the raw `image`, wait for its report, compare it with `promises`, power it off.

    `deadline_s` replaces the machine's own when not 0. A report with broken promises is returned, not raised
    (`BootReport.passed`); see `require`. Raises BootFailed when the guest never reported (with the first missing
    step and the console's end), ToolMissing for QEMU, its firmware or a QEMU too old. The console is in
    `transcript` in any case.
    """
    version = qemu.require(EMULATORS[architecture])
    listener(StepStarted("boot", f"{image.name} on {machine.machine}, QEMU {version} without KVM"))
    limits = deadlines(deadline_s or machine.deadline_s)
    with failures(transcript, "writing the transcript"):
        _refuse_overwriting(transcript, image)
        opened = transcript.open("wb")
    with opened as log, qemu.scratch() as folder:
        files = guest_files(image, machine, architecture, folder)
        # Drawn now, long after the image was sealed: nothing in the image can know it.
        nonce = secrets.token_hex(16)
        console, seconds = Console(nonce), dict[str, float]()
        with qemu.Guest(lambda fd: guest_argv(machine, architecture, files, nonce, fd), log) as guest:
            try:
                _follow(guest, console, limits, seconds, listener)
            except BootFailed as error:
                raise _with_tail(error, console, transcript) from error
            listener(Noted("the report is complete, powering off"))
            went_down = guest.power_off(_POWER_OFF_S) if can_power_off(machine) else None
    facts = console.facts or {}
    kept, broken = judge(promises, facts)
    listener(StepFinished("boot", f"{len(kept)} of {len(promises)} promises kept"))
    return BootReport(
        passed=not broken,
        machine=machine.machine,
        facts=facts,
        kept=kept,
        broken=broken,
        seconds=seconds,
        borrowed=files.kernel.told if files.kernel else (),
        unproven=machine.unproven,
        powered_off=went_down,
        transcript=transcript,
        tail=console.tail,
    )


def _refuse_overwriting(transcript: Path, image: Path) -> None:
    """Raise UsageError where the transcript would replace the image, or a file that need not be a transcript."""
    if not transcript.is_file():
        return
    if transcript.samefile(image):
        raise UsageError("this is the image itself", where=str(transcript), hint="give --transcript another name")
    if transcript.suffix != ".log" and transcript.stat().st_size:
        raise UsageError(
            "this file is there already, and only a .log is overwritten",
            where=str(transcript),
            hint="remove it, or give --transcript another name, as console.log",
        )


def require(report: BootReport) -> BootReport:
    """The report, if every promise was kept. Raises PromisesBroken with all that were not."""
    if not report.passed:
        raise PromisesBroken(report)
    return report


def guest_files(image: Path, machine: QemuMachine, architecture: Architecture, folder: Path) -> GuestFiles:
    """A guest's own files, made in `folder`: an overlay over the raw image, and what starts it. Raises ToolMissing."""
    overlay = folder / "disk.qcow2"
    qemu.make_overlay(image, overlay, overlay_size(image.stat().st_size))
    if machine.start == "kernel":
        return GuestFiles(overlay, kernel=kernel.borrow(image, machine, folder))
    for firmware in FIRMWARE[architecture]:
        if firmware.code.is_file() and firmware.variables.is_file():
            variables = folder / "variables.fd"
            shutil.copyfile(firmware.variables, variables)
            return GuestFiles(overlay, firmware.code, variables)
    package = FIRMWARE[architecture][0].package
    raise ToolMissing(
        f"the UEFI firmware for {architecture} guests is not installed", hint=f"apt-get install {package}"
    )


def _follow(
    guest: qemu.Guest, console: Console, limits: Deadlines, seconds: dict[str, float], listener: Listener
) -> None:
    """Read the console until the report is there, noting when each step came. Raises BootFailed."""
    while console.facts is None:
        data = guest.read(1.0)
        if data is None:
            raise _ended(guest, console)
        console.feed(data)
        for step in console.reached:
            if step not in seconds:
                seconds[step] = round(guest.elapsed, 1)
                listener(Noted(f"{seconds[step]:6.1f} s  {_WANTED[step]}"))
        if console.facts is None and console.disaster:
            when = guest.elapsed
            _listen_on(guest, console)
            raise BootFailed(f"{console.disaster}, {when:.0f} s after the start")
        step = missing_step(console.reached)
        limit = getattr(limits, step)
        if console.facts is None and guest.elapsed > limit:
            why = f" ({console.complaint})" if console.complaint and step == "report" else ""
            raise BootFailed(
                f"{_WANTED[step]} did not come within {limit:.0f} s{why}",
                hint="a slow or busy machine needs more time: --deadline SECONDS",
            )


def _listen_on(guest: qemu.Guest, console: Console) -> None:
    """Two seconds more, so that the transcript shows what a dying guest still has to say."""
    until = guest.elapsed + _LAST_WORDS_S
    while guest.elapsed < until:
        data = guest.read(until - guest.elapsed)
        if data is None:
            return
        console.feed(data)


def missing_step(reached: Sequence[str]) -> str:
    """The first step that is still to come. A later one vouches for those before it (a quiet kernel says nothing)."""
    furthest = max((STEPS.index(step) for step in reached), default=-1)
    return STEPS[min(furthest + 1, len(STEPS) - 1)]


def _ended(guest: qemu.Guest, console: Console) -> BootFailed:
    words = guest.last_words()
    wanted = _WANTED[missing_step(console.reached)]
    if guest.failed_to_start():
        return BootFailed(f"QEMU gave up before {wanted}: {words}")
    return BootFailed(f"the guest switched itself off or restarted before {wanted}")


def _with_tail(error: BootFailed, console: Console, transcript: Path) -> BootFailed:
    hint = f"the whole console is in {transcript}" + (f"; {error.hint}" if error.hint else "")
    return BootFailed(f"{error.what}\n{quoted(console.tail)}", hint=hint)
