"""What of a board with a base was shown to work: said of each that is shipped, and never more than there is."""

from __future__ import annotations

import pytest

from imagesmith.model import Base, Board, DebianSource
from imagesmith.planning.proof import only_hardware, proven
from imagesmith.workflow.target import catalogue_near

PAIRS = [(board, base) for board in catalogue_near(None).boards.values() for base in board.bases]
IDS = [f"{board.name}-{base.name}" for board, base in PAIRS]
each_pair = pytest.mark.parametrize(("board", "base"), PAIRS, ids=IDS)


@each_pair
def test_an_image_that_nobody_had_is_not_said_to_have_booted(board: Board, base: Base) -> None:
    told = proven(board, base)
    assert told.startswith("made here" if isinstance(base.source, DebianSource) else "a stand-in")
    assert ("never booted" in told or "no installation" in told) != told.startswith("made here")


@each_pair
def test_where_qemu_is_not_the_board_something_is_left_to_the_board(board: Board, base: Base) -> None:
    assert bool(only_hardware(board, base)) == (board.name != "qemu-x86")


def test_a_base_without_a_machine_leaves_even_the_start_to_the_board() -> None:
    board = catalogue_near(None).boards["bananapi-m5"]
    assert "starts it at all" in only_hardware(board, board.bases[0])[0]
