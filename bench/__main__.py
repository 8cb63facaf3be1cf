"""Measure what is claimed about speed and memory: `python -m bench [--runs N] [CASE...]`, or `make bench`.

Ours and its peer run alternately in one run, on one made image; what counts is the ratio. Exit code 1 when a bar is
missed: on a busy machine run it again before believing it.

Memory is that of our process and all that it starts, at its highest: their proportional set sizes (PSS) summed, so that
a page that several of them share counts once, asked every 20 ms. What was there for less than that may be missed; a
library that programs of others use too counts in part; the kernel's page cache is not counted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import (
    boot_rack,
    edit_base,
    flash_cards,
    flash_memory,
    identities,
    plan_rack,
    rack_build,
    update_all,
    whole_build,
    xz_decode,
    zerotier,
)
from bench.made_base import Base, make_base
from bench.row import table

CASES = {
    "xz": xz_decode.rows, "edit": edit_base.rows, "build": whole_build.rows, "flash": flash_cards.rows,
    "memory": flash_memory.rows, "update": update_all.rows, "plan": plan_rack.rows, "rack": rack_build.rows,
    "identities": identities.rows, "boot": boot_rack.rows,
    "zerotier": zerotier.rows,
}  # fmt: skip

_WITHOUT_BASE = {"flash", "memory", "update", "plan", "rack", "identities", "boot", "zerotier"}
"""The cards have an image of their own, the rack three bases; an update, a plan and identities read none, guests
Debian's."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; else all")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="imagesmith-bench-") as name:
        folder = Path(name)
        needed = set(options.cases or CASES) - _WITHOUT_BASE
        base = make_base(folder) if needed else Base(folder / "none")
        rows = [row for case in options.cases or CASES for row in CASES[case](base, folder, options.runs)]
    print(table(rows))
    busy = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end"
    taken = f"best of {options.runs} runs each; the median of cards, plans and the rack, the mean of identities"
    print(f"\n{busy}; {taken}.")
    print("Peak: the whole process tree's PSS, summed, asked every 20 ms.")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
