"""Writes the table in docs/boards.md from the catalogue. Called by `make docs`; tests/test_docs.py checks the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from imagesmith.planning.proof import only_hardware, proven
from imagesmith.workflow.target import catalogue_near

PAGE = Path(__file__).resolve().parent / "boards.md"
_BEGIN, _END = "<!-- made by `make docs` -->\n", "<!-- until here -->\n"
_HEAD = "| board | base | shown to work, and how | what only the board can show |\n|---|---|---|---|\n"


def page(text: str) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{_HEAD}{''.join(rows())}{_END}{after}"


def rows() -> Iterator[str]:
    """A line for each board with each of its bases."""
    for board in catalogue_near(None).boards.values():
        for base in board.bases:
            open_ = "; ".join(only_hardware(board, base)) or "nothing: it is QEMU's own machine"
            yield f"| `{board.name}` | `{base.name}` | {proven(board, base)} | {open_} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), encoding="utf-8")
