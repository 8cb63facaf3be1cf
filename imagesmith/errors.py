"""The tree of failures: each class owns its exit code, each instance says what, where and what next.

    ImagesmithError                1   a bug, or something nobody foresaw
    ├── UsageError                 2   the command, profile or inventory is wrong
    │   └── DocumentInvalid        2   ... with every problem at once, each at file:line
    ├── SourceUnreachable          3   a download did not come, or not whole
    ├── DigestMismatch             4   bytes are not the ones that were promised
    │   ├── SignatureInvalid       4   ... or not signed by the pinned key
    │   └── ContentMalformed       4   ... or not the kind of file they claim to be
    ├── DeviceRefused              5   a device that must not, or may not, be written
    ├── IOFailed                   6   reading or writing failed
    ├── ReadbackDiffers            7   the medium does not hold what was written
    ├── NoSpace                    8   a file system is full
    ├── ToolMissing                9   a program that is needed is not installed
    ├── BootFailed                10   a guest did not do what its profile promised
    ├── EditFailed                11   the image could not be edited
    ├── VaultLocked               12   the vault is locked, or the key is wrong
    ├── NodeUnreachable           13   a node or service is away or unhealthy
    └── Interrupted              130   stopped by the user

Raised low, given a clause of context on the way up (`within`), shown once, in `cli`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class ImagesmithError(Exception):
    """A failure a person can act on: `what` happened, `where` (path, offset, URL), a `hint` what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.context: list[str] = []

    def within(self, clause: str) -> ImagesmithError:
        """Add a clause of context ("while building node-1") and return self, to be re-raised."""
        self.context.append(clause)
        return self

    def __str__(self) -> str:
        text = self.what
        if self.where:
            text = f"{self.where}: {text}"
        return ", ".join([text, *self.context])

    def facts(self) -> dict[str, object]:
        """The failure as plain data, for `--json`."""
        return {
            "kind": type(self).__name__,
            "exit_code": self.exit_code,
            "message": str(self),
            "where": self.where,
            "hint": self.hint,
        }


class UsageError(ImagesmithError):
    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One complaint about a document: where it stands, what is wrong, what to do."""

    file: str
    line: int
    """1-based; 0 when the complaint is about the document as a whole."""
    path: str
    """Where in the document, as `nodes[2].hostname`."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}: {path}{self.message}{hint}"


class DocumentInvalid(UsageError):
    """A profile, board or inventory with mistakes: all of them at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        count = len(self.problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} found:\n{lines}")

    def facts(self) -> dict[str, object]:
        keys = ("file", "line", "path", "message", "hint")
        listed = [{key: getattr(problem, key) for key in keys} for problem in self.problems]
        return {**super().facts(), "problems": listed}


class SourceUnreachable(ImagesmithError):
    exit_code = 3


class DigestMismatch(ImagesmithError):
    exit_code = 4


class SignatureInvalid(DigestMismatch):
    pass


class ContentMalformed(DigestMismatch):
    pass


class DeviceRefused(ImagesmithError):
    exit_code = 5


class IOFailed(ImagesmithError):
    exit_code = 6


class ReadbackDiffers(ImagesmithError):
    exit_code = 7


class NoSpace(ImagesmithError):
    exit_code = 8


class ToolMissing(ImagesmithError):
    exit_code = 9


class BootFailed(ImagesmithError):
    exit_code = 10


class EditFailed(ImagesmithError):
    exit_code = 11


class VaultLocked(ImagesmithError):
    exit_code = 12


class NodeUnreachable(ImagesmithError):
    exit_code = 13


class Interrupted(ImagesmithError):
    exit_code = 130
