"""`python -m standins.k3s PATH` (with tests/ on the path) writes the program there."""

from __future__ import annotations

import sys
from pathlib import Path

from standins.k3s import make

print(make(Path(sys.argv[1])))
