"""What a guest says about itself, and whether that is what was promised. Touches nothing.

The guest's report (made by firstboot/report, format in docs/boot.md) is a block of console lines that carry this
run's nonce. Its digest covers the nonce, so neither an echo of what QEMU was given nor an old transcript passes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagesmith.errors import BootFailed
from imagesmith.model import Promise

MOST_FACTS = 2000
"""A guest that reports more is not believed; keeps memory bounded."""

_ESCAPES = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    rb"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
    rb"|\x1b[ -/]*[0-Z\\^-~]"  # everything shorter
)


def plain(line: bytes) -> bytes:
    """A console line without terminal control sequences."""
    return _ESCAPES.sub(b"", line)


def digest(lines: Sequence[bytes], nonce: str) -> str:
    """The hex sha256 that ends a report of these `key=value` lines."""
    return hashlib.sha256(b"".join(line + b"\n" for line in lines) + nonce.encode()).hexdigest()


@dataclass(slots=True)
class ReportReader:
    """Collects the report of one nonce out of a console's lines, whatever else is between them.

    The guest repeats its report; a pass that a kernel message tore apart is dropped and the next one is awaited.
    """

    nonce: str
    complaint: str = ""
    """Why the last pass was not taken; empty when there was none."""
    _lines: list[bytes] | None = field(default=None, init=False)

    def feed(self, line: bytes) -> Mapping[str, str] | None:
        """Take one line (no newline); returns the facts once, when a whole pass has been seen."""
        marker = b"IMAGESMITH " + self.nonce.encode() + b" "
        at = plain(line).find(marker)
        if at < 0:
            return None
        said = plain(line)[at + len(marker) :]
        if said == b"BEGIN":
            if self._lines is not None:
                self.complaint = "a report began again before its end"
            self._lines = []
            return None
        if self._lines is None:
            return None
        if said.startswith(b"END "):
            lines, self._lines = self._lines, None
            return self._finish(lines, said)
        if len(self._lines) < MOST_FACTS:
            self._lines.append(said)
        return None

    def _finish(self, lines: list[bytes], end: bytes) -> Mapping[str, str] | None:
        words = end.split()
        if len(words) != 3 or words[1] != str(len(lines)).encode():
            announced = words[1].decode("ascii", "replace") if len(words) > 1 else "?"
            self.complaint = f"{len(lines)} lines of a report came, its end announced {announced}"
            return None
        if words[2] != digest(lines, self.nonce).encode():
            self.complaint = "a report's digest does not agree with its lines"
            return None
        pairs = [line.decode("utf-8", "replace").partition("=") for line in lines]
        facts = {key: value for key, _, value in pairs}
        if len(facts) != len(lines):
            self.complaint = "a report names the same fact twice"
            return None
        return facts


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept, and what the guest said instead (None = nothing)."""

    promise: Promise
    found: str | None

    def __str__(self) -> str:
        relation = {"equals": "is", "at_least": "is at least", "present": "is there", "absent": "is not there"}
        value = self.promise.value or ("empty" if self.promise.relation == "equals" else "")
        wanted = f"{self.promise.fact} {relation[self.promise.relation]} {value}".rstrip()
        found = "the guest did not report it" if self.found is None else f"the guest says {self.found or 'nothing'!r}"
        because = f" ({self.promise.because})" if self.promise.because else ""
        return f"promised: {wanted}{because}; {found}"


def judge(promises: Sequence[Promise], facts: Mapping[str, str]) -> tuple[tuple[Promise, ...], tuple[Broken, ...]]:
    """The promises kept and those broken, in their order."""
    broken = tuple(Broken(one, facts.get(one.fact)) for one in promises if not _holds(one, facts.get(one.fact)))
    failed = {one.promise for one in broken}
    return tuple(one for one in promises if one not in failed), broken


def _holds(promise: Promise, found: str | None) -> bool:
    match promise.relation:
        case "present":
            return bool(found and found.strip())
        case "absent":
            return not (found and found.strip())
        case "equals":
            # The guest pads nothing; a list that ends in a blank is still the same list.
            return found is not None and found.strip() == promise.value.strip()
        case "at_least":
            try:
                return found is not None and float(found) >= float(promise.value)
            except ValueError:
                return False


@dataclass(frozen=True, slots=True)
class BootReport:
    """What became of one boot. It exists only where the guest reported; otherwise BootFailed is raised."""

    passed: bool
    machine: str
    """QEMU's name, as `raspi3b`."""
    facts: Mapping[str, str]
    kept: tuple[Promise, ...]
    broken: tuple[Broken, ...]
    seconds: Mapping[str, float]
    """From the guest's start until `kernel`, `userspace`, `report`; rounded to tenths."""
    borrowed: tuple[str, ...]
    """What did not come in the way a real board would fetch it, one sentence each."""
    unproven: tuple[str, ...]
    powered_off: bool | None
    """Whether it went down by itself when its power button was pressed; None where the machine has none."""
    transcript: Path
    tail: tuple[str, ...] = ()
    """The console's last lines."""


class PromisesBroken(BootFailed):
    """A guest that reported, but not what was promised: every broken promise, and the console's end."""

    def __init__(self, report: BootReport) -> None:
        self.report = report
        count = len(report.broken)
        lines = "\n".join(f"  {broken}" for broken in report.broken)
        super().__init__(
            f"{count} promise{'s' if count != 1 else ''} broken on {report.machine}:\n{lines}\n{quoted(report.tail)}",
            hint=f"the whole console is in {report.transcript}",
        )

    def facts(self) -> dict[str, object]:
        return {**super().facts(), "report": as_facts(self.report)}


def quoted(tail: Sequence[str]) -> str:
    """A console's last lines, indented for an error message."""
    if not tail:
        return "  the console stayed empty"
    return "  the console's last lines:\n" + "\n".join(f"  | {line}" for line in tail)


def show(report: BootReport) -> str:
    """The report for people: the verdict first, then why, then what it does not prove."""
    total = report.seconds.get("report", 0.0)
    count = len(report.kept) + len(report.broken)
    verdict = "booted" if report.passed else "did NOT keep its promises"
    lines = [
        f"{report.facts.get('hostname', 'the guest')} {verdict} on {report.machine}: "
        f"{len(report.kept)} of {count} promises kept, {total:.0f} s to the end of its first boot"
    ]
    if not count:
        lines.append("  nothing was promised: this shows that it starts and reports, no more")
    lines += [f"  broken    {broken}" for broken in report.broken]
    lines += [f"  kept      {_sentence(promise)}" for promise in report.kept]
    lines.append("  times     " + ", ".join(f"{name} {value:.0f} s" for name, value in report.seconds.items()))
    lines += [f"  borrowed  {sentence}" for sentence in report.borrowed]
    lines += [f"  unproven  {sentence}" for sentence in report.unproven]
    if report.powered_off is False:
        lines.append("  note      it did not power off when its button was pressed and was ended")
    lines.append(f"  console   {report.transcript}")
    return "\n".join(lines)


def as_facts(report: BootReport) -> dict[str, object]:
    """The report as plain data, for `--json`."""
    return {
        "passed": report.passed,
        "machine": report.machine,
        "facts": dict(report.facts),
        "kept": [_promise(promise) for promise in report.kept],
        "broken": [{**_promise(broken.promise), "found": broken.found} for broken in report.broken],
        "seconds": dict(report.seconds),
        "borrowed": list(report.borrowed),
        "unproven": list(report.unproven),
        "powered_off": report.powered_off,
        "transcript": str(report.transcript),
    }


def _sentence(promise: Promise) -> str:
    relation = {"equals": "=", "at_least": ">=", "present": "present", "absent": "absent"}[promise.relation]
    return f"{promise.fact} {relation} {promise.value or ('(empty)' if relation == '=' else '')}".rstrip()


def _promise(promise: Promise) -> dict[str, object]:
    return {
        "fact": promise.fact,
        "relation": promise.relation,
        "value": promise.value,
        "because": promise.because,
    }
