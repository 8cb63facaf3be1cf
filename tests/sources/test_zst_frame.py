"""How much memory a .zst frame wants, beside what `zstd` itself tells of it."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from imagesmith.sources.zst_frame import window_of
from imagesmith.units import MiB


@pytest.mark.parametrize("size", [1000, 60_000, 3 * MiB])
@pytest.mark.parametrize("words", [["-3"], ["-3", "--long=27"], ["-19"]])
@pytest.mark.parametrize("piped", [False, True])  # without a size, so in no single segment
def test_the_window_is_what_zstd_tells(tmp_path: Path, size: int, words: list[str], piped: bool) -> None:
    packed = tmp_path / "a.zst"
    data = random.Random(size).randbytes(size)
    if piped:
        subprocess.run(["zstd", "-q", *words, "-o", packed], input=data, check=True)
    else:
        (tmp_path / "a").write_bytes(data)
        subprocess.run(["zstd", "-q", *words, tmp_path / "a", "-o", packed], check=True)
    told = subprocess.run(["zstd", "-lv", packed], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Window Size: .*\((\d+) B\)", told)
    assert found
    with packed.open("rb") as file:
        assert window_of(file.fileno()) == int(found[1])
