"""A guest's serial console, read as a story: kernel, userspace, report, or a disaster. Touches nothing.

Called by `workflow.boot` with the bytes that `boot.qemu` reads. Guests write to it whatever they like, so lines are
bounded, control sequences are removed and nothing but the nonce's report counts as proof.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagesmith.boot.report import ReportReader, plain

LONGEST_LINE = 16 * 1024
TAIL = 25
"""Lines of the transcript that a failure shows."""

_KERNEL = re.compile(rb"Linux version \d|Booting Linux on physical CPU|EFI stub: ")
_USERSPACE = re.compile(rb"systemd\[1\]: |Welcome to (?!GRUB)|login: ?$")
_DISASTERS = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (rb"Kernel panic - not syncing", "the kernel panicked"),
        (rb"(?i)\bdouble fault\b", "the kernel died of a double fault"),
        (rb"You are in emergency mode|Give root password for maintenance", "systemd gave up into emergency mode"),
        (rb"You are in rescue mode", "systemd stopped in rescue mode"),
        (rb"ALERT!.*does not exist|^\(initramfs\)", "the initramfs did not find the root file system"),
        (rb"UEFI Interactive Shell|No bootable option or device was found", "the firmware found nothing to start"),
        (rb"Out of memory and no killable processes|System is deadlocked on memory", "the guest ran out of memory"),
    )
)


@dataclass(slots=True)
class Console:
    """Fed with bytes, it knows how far the guest has come.

    `reached` holds the steps in the order seen (`kernel`, `userspace`, `report`), `disaster` the first sign that
    waiting is pointless, `facts` the report once it has come whole.
    """

    nonce: str
    reached: list[str] = field(default_factory=list, init=False)
    disaster: str = field(default="", init=False)
    facts: Mapping[str, str] | None = field(default=None, init=False)
    _reader: ReportReader = field(init=False)
    _rest: bytes = field(default=b"", init=False)
    _tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL), init=False)

    def __post_init__(self) -> None:
        self._reader = ReportReader(self.nonce)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        # A carriage return alone ends a line too: systemd redraws its progress line with it.
        *lines, self._rest = re.split(rb"[\r\n]", self._rest + data)
        for line in lines:
            self._line(line)
        self._glance(self._rest)
        if len(self._rest) > LONGEST_LINE:
            self._line(self._rest)
            self._rest = b""

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, plain text, for an error message."""
        last = [_readable(self._rest)] if self._rest.strip() else []
        return tuple([*self._tail, *last][-TAIL:])

    @property
    def complaint(self) -> str:
        """What was wrong with reports that came but could not be taken."""
        return self._reader.complaint

    def _line(self, line: bytes) -> None:
        line = line[:LONGEST_LINE]
        text = _readable(line)
        if text and self.nonce not in text:  # the report's own lines explain no failure
            self._tail.append(text)
        self._glance(line)
        facts = self._reader.feed(line)
        if facts is not None and self.facts is None:
            self.facts = facts
            self._reach("report")

    def _glance(self, line: bytes) -> None:
        line = plain(line)
        if self.nonce.encode() in line:
            return  # a report may well quote a panic of long ago
        if _KERNEL.search(line):
            self._reach("kernel")
        if _USERSPACE.search(line):
            self._reach("userspace")
        for pattern, meaning in _DISASTERS:
            if not self.disaster and pattern.search(line):
                self.disaster = meaning

    def _reach(self, step: str) -> None:
        if step not in self.reached:
            self.reached.append(step)


def _readable(line: bytes) -> str:
    text = plain(line).decode("utf-8", "replace")
    return "".join(letter for letter in text if letter.isprintable() or letter == "\t").rstrip()
