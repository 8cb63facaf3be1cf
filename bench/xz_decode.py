"""How long `expand` takes for an .xz image beside `xz -dc -T0`; `expand` also digests it and keeps it sparse.

Called by `bench.__main__`. Blocks of 24 MiB, as publishers use them, and of 8 MiB.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.made_base import Base, MiB
from bench.row import Row, timed

LIMIT = 1.15
BLOCKS_MIB = (8, 24)
_CHILD = """
import sys
from pathlib import Path
from imagesmith.sources.decompress import expand
expand(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Best of `runs`, alternating, so that a busy machine hurts both alike."""
    return [_row(base, folder, runs, block) for block in BLOCKS_MIB]


def _row(base: Base, folder: Path, runs: int, block: int) -> Row:
    packed, raw = folder / f"base-{block}.img.xz", folder / "raw"
    with packed.open("wb") as out:
        argv = ["xz", "-c", "-0", "-T2", f"--block-size={block * MiB}", str(base.path)]
        subprocess.run(argv, stdout=out, check=True)
    ours, peers = [], []
    for _ in range(runs):
        start = time.monotonic()
        with raw.open("wb") as out:
            subprocess.run(["xz", "-dc", "-T0", packed], check=True, stdout=out)
        peers.append(time.monotonic() - start)
        raw.unlink()
        ours.append(timed([sys.executable, "-c", _CHILD, packed, raw], folder))
        raw.unlink()
    packed.unlink()
    seconds, peak = min(one[0] for one in ours), max(one[1] for one in ours)
    return Row(f"expand .img.xz, blocks of {block} MiB", seconds, "xz -dc -T0 > FILE", min(peers), LIMIT, peak)
