"""How long `expand` takes for an .xz file beside `xz -dc -T0`, and its peak memory.

    python bench/xz_decode.py FILE.xz

Both write the raw image to a file on the same disk; `expand` digests it as well. Best of N runs, alternating, so that
a busy machine hurts both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHILD = """
import json, resource, sys
from pathlib import Path
from imagesmith.sources.decompress import expand
done = expand(Path(sys.argv[1]), Path(sys.argv[2]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"size": done.size, "digest": str(done.digest), "peak": peak}))
"""


def ours(packed: Path, raw: Path) -> tuple[float, int]:
    """Seconds and peak bytes of one `expand` in a process of its own."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", CHILD, packed, raw], check=True, capture_output=True)
    seconds = time.monotonic() - start
    return seconds, int(json.loads(done.stdout)["peak"])


def theirs(packed: Path, raw: Path) -> float:
    """Seconds of one `xz -dc -T0` into a file."""
    start = time.monotonic()
    with raw.open("wb") as out:
        subprocess.run(["xz", "-dc", "-T0", packed], check=True, stdout=out)
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        for _ in range(options.runs):
            peer = theirs(options.file, raw)
            raw.unlink()
            mine, peak = ours(options.file, raw)
            raw.unlink()
            rows.append((mine, peer, peak))
    mine, peer, peak = min(row[0] for row in rows), min(row[1] for row in rows), max(row[2] for row in rows)
    print(f"expand {mine:.2f} s, xz -dc -T0 {peer:.2f} s, ratio {mine / peer:.2f} (at most 1.15)")
    print(f"peak memory {peak / 2**20:.0f} MiB (at most 256), {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
