"""How long sealing takes beside `cp`, `sha256sum` and `zstd -T0` of the same image: `python -m bench.seal`.

Ours copies the base, finds what is allocated, digests the whole and every mapped range, and compresses; the peers run
one after another. Best of N runs, alternating. The peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.made_base import Base, make_base, run

LIMIT = 1.5
MEMORY_LIMIT = 200

CHILD = """
import json, re, sys, time
from pathlib import Path
from imagesmith.image.allocation import used_ranges
from imagesmith.image.raw import RawImage
from imagesmith.output.seal import seal

base, target = Path(sys.argv[1]), Path(sys.argv[2])
start = time.monotonic()
with RawImage.copy_of(base, target) as raw:
    ranges = used_ranges(raw)
seal(target, ranges, compress="zst", packed=target.with_suffix(".zst"))
seconds = time.monotonic() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps({"seconds": seconds, "peak": peak / 1024}))
"""


def ours(base: Base, target: Path) -> tuple[float, float]:
    """Seconds, and MiB at the peak."""
    argv = [sys.executable, "-c", CHILD, base.path, target]
    told = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return float(told["seconds"]), float(told["peak"])


def theirs(base: Base, target: Path) -> float:
    start = time.monotonic()
    run("cp", "--sparse=always", base.path, target)
    run("sha256sum", target)
    run("zstd", "-q", "-T0", "-f", target, "-o", target.with_suffix(".zst"))
    return time.monotonic() - start


def measure(folder: Path, runs: int) -> tuple[float, float, float]:
    """Best seconds of ours and theirs, and our peak memory in MiB."""
    base, target, rows = make_base(folder), folder / "node.img", []
    for _ in range(runs):
        peer = theirs(base, target)
        for path in (target, target.with_suffix(".zst")):
            path.unlink()
        mine, peak = ours(base, target)
        for path in (target, target.with_suffix(".zst")):
            path.unlink()
        rows.append((mine, peer, peak))
    return min(row[0] for row in rows), min(row[1] for row in rows), max(row[2] for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mine, peer, peak = measure(Path(folder), options.runs)
    print("| sealing a 2.5 GiB image | seconds | ratio | at most |")
    print("|---|---|---|---|")
    print(f"| cp, sha256sum, zstd -T0 | {peer:.2f} | 1 | |")
    print(f"| imagesmith, with block map | {mine:.2f} | {mine / peer:.2f} | {LIMIT} |")
    print(f"\nPeak memory {peak:.0f} MiB (at most {MEMORY_LIMIT}).")
    return 0 if mine <= LIMIT * peer and peak <= MEMORY_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
