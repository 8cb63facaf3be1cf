"""How long the plan of five nodes takes beside an interpreter that starts and imports the same modules, and no more.

Called by `bench.__main__`. The inventory is examples/rack.yaml; the cache is empty, as it is at the first plan.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.made_base import Base
from bench.row import Row

LIMIT = 1.5
_LEAST_RUNS = 11
"""A run takes a third of a second, and the median of few is a matter of luck."""
RACK = Path(__file__).parents[1] / "examples" / "rack.yaml"
WORDS = ("plan", "--cluster", str(RACK), "--all")
_IMPORTED = f"""\
import json, sys
before = set(sys.modules)
from imagesmith.cli.main import main
assert main({list(WORDS)!r}) == 0
specs = [getattr(sys.modules[name], "__spec__", None) for name in set(sys.modules) - before]
# Without a loader it is something that an extension module puts there by itself.
print(json.dumps(sorted(spec.name for spec in specs if spec and spec.loader)), file=sys.stderr)
"""


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Medians, alternating. `base` is not used: a plan reads no image."""
    env = {**os.environ, "IMAGESMITH_CACHE": str(folder / "empty-cache")}
    ours, peer = [sys.executable, "-m", "imagesmith", *WORDS], [sys.executable, "-c", imports(imported(env))]
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(runs, _LEAST_RUNS)):
        for argv, found in zip((peer, ours), seconds, strict=True):
            start = time.monotonic()
            subprocess.run(argv, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
            found.append(time.monotonic() - start)
    peers, own = map(statistics.median, seconds)
    return [Row("plan --all of five nodes", own, "the interpreter with the same imports", peers, LIMIT)]


def imported(env: dict[str, str]) -> list[str]:
    """Every module that the plan has imported at its end."""
    done = subprocess.run([sys.executable, "-c", _IMPORTED], env=env, capture_output=True, text=True, check=True)
    return list(json.loads(done.stderr.splitlines()[-1]))


def imports(modules: Sequence[str]) -> str:
    """A program that imports the modules and ends."""
    return f"import importlib\nfor name in {list(modules)!r}: importlib.import_module(name)\n"
